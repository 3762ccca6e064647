import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import spamgpt
from spamgpt import SpamClassifier
from spamgpt.errors import IntegrityError, MissingInputError, UsageError

MESSAGES = ["WIN a FREE prize now!! 7", "see you later 8", "", "é😀", "ok at home " * 9]


@pytest.fixture(scope="session")
def classifier(trained_workspace_template) -> SpamClassifier:
    return SpamClassifier.from_pretrained(trained_workspace_template, device="cpu")


def test_it_tells_spam_from_ham(classifier):
    assert classifier.labels == ["ham", "spam"]
    assert classifier.predict(MESSAGES[:2]) == ["spam", "ham"]


def test_probabilities_are_one_row_a_message_and_add_up_to_one(classifier):
    probabilities = classifier.predict_proba(MESSAGES)
    assert probabilities.shape == (5, 2)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)


@settings(deadline=None, max_examples=30)
@given(neighbours=st.lists(st.text(max_size=80), max_size=8), place=st.integers(0, 8))
def test_prediction_does_not_depend_on_the_batch(classifier, neighbours, place):
    message = MESSAGES[0]
    batch = [*neighbours[:place], message, *neighbours[place:]]
    alone = classifier.predict_proba([message])[0]
    together = classifier.predict_proba(batch)[min(place, len(neighbours))]
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_spam_is_found_wherever_a_long_message_is_read():
    bundled = SpamClassifier.bundled(device="cpu")
    harmless = "see you at seven then, i will bring the bread " * 100
    spam = "WINNER! Claim your free prize now, call 09061701461 " * 40
    found = bundled.predictions([harmless, spam + harmless, harmless + spam, harmless * 9 + spam])
    _, first, last, very_long = found.probabilities[:, 1]
    assert first > 0.95
    assert min(last, very_long) > 0.75 > 0.5 > found.probabilities[0, 1]
    assert found.windows == [3, 4, 4, 4]
    assert [left_out > 0 for left_out in found.windows_left_out] == [False, False, False, True]
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1)


def test_one_string_is_not_taken_for_a_list_of_letters(classifier):
    with pytest.raises(TypeError, match="a list of messages"):
        classifier.predict("see you")


def test_no_messages_get_no_answers(classifier):
    assert classifier.predict([]) == []
    assert classifier.predict_proba([]).shape == (0, 2)


def test_it_loads_from_the_workspace_and_from_its_own_folder(trained_workspace):
    expected = SpamClassifier.from_pretrained(trained_workspace).predict_proba(MESSAGES)
    folder = trained_workspace / "classifiers" / "v1"
    np.testing.assert_array_equal(
        SpamClassifier.from_pretrained(folder).predict_proba(MESSAGES), expected
    )
    named = SpamClassifier.from_pretrained(str(trained_workspace), "v1")
    np.testing.assert_array_equal(named.predict_proba(MESSAGES), expected)


def test_a_missing_classifier_is_told(tmp_path):
    with pytest.raises(MissingInputError) as caught:
        SpamClassifier.from_pretrained(tmp_path / "nothing")
    assert "spamgpt finetune" in caught.value.hint
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize(
    "file",
    [
        "classifiers/v1/config.json",
        "classifiers/v1/trained.safetensors",
        "models/tiny/v1/config.json",
        "models/tiny/v1/vocab.json",
        "models/tiny/v1/merges.txt",
        "models/tiny/v1/model.safetensors",
    ],
)
def test_a_damaged_file_is_named(trained_workspace, file):
    path = trained_workspace / file
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match=path.name):
        SpamClassifier.from_pretrained(trained_workspace)


def test_the_package_offers_the_classifier_by_name_only():
    assert spamgpt.SpamClassifier is SpamClassifier
    with pytest.raises(AttributeError):
        spamgpt.Nothing  # noqa: B018


def test_loading_leaves_the_random_state_alone(trained_workspace):
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    SpamClassifier.from_pretrained(trained_workspace)
    assert torch.equal(torch.rand(1), expected)


def test_an_artifact_that_is_no_classifier_is_told(trained_workspace):
    with pytest.raises(MissingInputError, match="not a classifier"):
        SpamClassifier.from_pretrained(trained_workspace / "models" / "tiny" / "v1")


@pytest.mark.parametrize("file", ["model.safetensors", "config.json", "vocab.json", "merges.txt"])
def test_a_file_that_a_saved_folder_lacks_is_named(trained_workspace, tmp_path, file):
    SpamClassifier.from_pretrained(trained_workspace).save_pretrained(tmp_path / "saved")
    (tmp_path / "saved" / file).unlink()
    with pytest.raises(MissingInputError, match=file):
        SpamClassifier.from_pretrained(tmp_path / "saved")


def test_a_file_in_the_way_of_a_folder_to_save_in_is_named(trained_workspace, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="is a file"):
        SpamClassifier.from_pretrained(trained_workspace).save_pretrained(tmp_path / "file" / "x")
