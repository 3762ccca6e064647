import pytest

from spamgpt import SpamClassifier
from spamgpt.classifier.formats.reading import is_classifier, read_classifier
from spamgpt.errors import UsageError


def test_every_format_is_known_by_what_lies_there(train, tmp_path):
    classifier = train(temperature=1.0)
    classifier.save_pretrained(tmp_path / "saved")
    classifier.to_huggingface(tmp_path / "theirs")
    classifier.to_bundle(tmp_path / "bundle")
    expected = classifier.predict_proba(["see you"])
    for name in ("saved", "theirs", "bundle"):
        assert is_classifier(tmp_path / name)
        assert read_classifier(tmp_path / name).config == classifier.config
        found = SpamClassifier.from_pretrained(tmp_path / name, device="cpu", precision="fp32")
        assert found.predict_proba(["see you"]) == pytest.approx(expected, abs=1e-5)


def test_a_workspace_and_a_pretrained_model_are_no_classifiers(trained_workspace):
    assert not is_classifier(trained_workspace)
    assert not is_classifier(trained_workspace / "models" / "tiny" / "v1")
    assert not is_classifier(trained_workspace / "nothing")


def test_a_state_dictionary_is_to_be_imported(tmp_path):
    (tmp_path / "model.pth").write_bytes(b"")
    with pytest.raises(UsageError) as caught:
        SpamClassifier.from_pretrained(tmp_path / "model.pth")
    assert caught.value.hint == f"Import it: spamgpt import {tmp_path / 'model.pth'}"
