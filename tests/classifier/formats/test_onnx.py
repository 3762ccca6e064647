import json
import subprocess
import sys

import numpy as np
import pytest

from spamgpt import SpamClassifier
from spamgpt.classifier.formats import onnx as format_onnx
from spamgpt.classifier.formats.agreement import Agreement
from spamgpt.errors import MissingInputError, UsageError
from tests.classifier.formats.conftest import MESSAGES


@pytest.mark.parametrize("labels", [2, 5])
@pytest.mark.parametrize(
    ("unfreeze", "ngrams", "pooling"),
    [("last-block", False, "last"), ("all", False, "mean"), ("head", True, "last")],
)
def test_onnxruntime_agrees_for_every_batch_and_length(
    train, tmp_path, unfreeze, ngrams, pooling, labels
):
    import onnxruntime

    classifier = train(unfreeze, labels, ngrams, pooling=pooling)
    assert classifier.config.ngrams == ngrams
    if ngrams:
        classifier.model.ngrams.caution.fill_(0.75)  # some of the messages are not covered
    agreement = classifier.to_onnx(tmp_path / "out.onnx", texts=MESSAGES)
    assert (agreement.messages, agreement.same_label) == (len(MESSAGES), 1.0)
    assert agreement.largest_difference < 1e-4
    session = onnxruntime.InferenceSession(tmp_path / "out.onnx")
    expected = classifier.predict_proba(MESSAGES)
    token_ids = classifier.tokenizer.encode(MESSAGES)
    longest = max(map(len, token_ids)) + 3
    # Padded with whatever there is, all at once, and each by itself.
    padded = np.array([ids + [7] * (longest - len(ids)) for ids in token_ids])
    mask = np.array([[1] * len(ids) + [0] * (longest - len(ids)) for ids in token_ids])
    inputs = {"input_ids": padded, "attention_mask": mask}
    logits, together = session.run(["logits", "probabilities"], inputs)
    np.testing.assert_allclose(together, expected, atol=1e-4)
    np.testing.assert_allclose(together.argmax(1), logits.argmax(1))
    for ids, row in zip(token_ids, expected, strict=True):
        inputs = {"input_ids": np.array([ids]), "attention_mask": np.ones((1, len(ids)), np.int64)}
        (alone,) = session.run(["probabilities"], inputs)
        np.testing.assert_allclose(alone[0], row, atol=1e-4)


def test_the_bundled_classifier_agrees_and_in_int8_nearly_so(tmp_path):
    bundled = SpamClassifier.bundled("cpu", "fp32")
    texts = ["WIN a FREE prize now", "see you at 7 then", "", "win " * 600]
    full = bundled.to_onnx(tmp_path / "full.onnx", texts=texts)
    assert full.largest_difference < 1e-4
    assert full.messages == len(texts)
    low = bundled.to_onnx(tmp_path / "low.onnx", int8=True, texts=texts)
    assert 1e-6 < low.largest_difference < 0.05
    assert low.same_label == 1.0
    sizes = [(tmp_path / name).stat().st_size for name in ("full.onnx", "low.onnx")]
    assert sizes[1] < 0.7 * sizes[0]


def test_it_is_measured_against_full_precision_whatever_the_classifier_computes_in(tmp_path):
    low = SpamClassifier.bundled("cpu", "bf16")
    agreement = low.to_onnx(tmp_path / "out.onnx", texts=["WIN a FREE prize now", "see you at 7"])
    assert agreement.largest_difference < 1e-5


def test_the_agreement_is_kept_in_the_file(train, tmp_path):
    import onnx

    agreement = train().to_onnx(tmp_path / "out.onnx", int8=True, texts=MESSAGES)
    model = onnx.load(tmp_path / "out.onnx")
    onnx.checker.check_model(model, full_check=True)
    about = {entry.key: entry.value for entry in model.metadata_props}
    assert Agreement(**json.loads(about["agreement"])) == agreement
    assert json.loads(about["labels"]) == ["ham", "spam"]
    assert float(about["threshold"]) == 0.6


def test_without_texts_the_bundled_messages_are_measured(train, tmp_path):
    assert train().to_onnx(tmp_path / "out.onnx").messages == 500


# Lets the example import nothing but what it says it needs.
ALONE = """
import runpy, sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "spamgpt", "transformers", "onnx", "pandas"):
            raise AssertionError(f"{name} is imported")
sys.meta_path.insert(0, Refuse())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.parametrize("ngrams", [False, True])
def test_the_example_beside_it_answers_with_onnxruntime_and_tiktoken_alone(train, tmp_path, ngrams):
    classifier = train(ngrams=ngrams)
    classifier.to_onnx(tmp_path / "my filter.onnx", texts=MESSAGES)
    example = tmp_path / "my filter.py"
    code = example.read_text().split("\n\n", 1)[1]
    assert len(code.splitlines()) <= 12
    texts = [*MESSAGES, "", "beyond the context " * 30]
    done = subprocess.run(
        [sys.executable, "-c", ALONE, example, *texts],
        capture_output=True,
        text=True,
        cwd=tmp_path.parent,
    )
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    # The example reads the first tokens of a long text.
    expected = classifier.predict_proba([*MESSAGES, "", ("beyond the context " * 30)[:64]])
    for answer, row in zip(found, expected, strict=True):
        assert answer == pytest.approx({"ham": row[0], "spam": row[1]}, abs=1e-4)


def test_large_weights_go_into_a_file_beside_it(train, tmp_path, monkeypatch):
    import onnxruntime

    monkeypatch.setattr(format_onnx, "MOST_BYTES", 10_000)
    classifier = train()
    agreement = classifier.to_onnx(tmp_path / "out.onnx", texts=MESSAGES)
    assert agreement.largest_difference < 1e-4
    names = sorted(path.name for path in tmp_path.iterdir() if path.is_file())
    assert names == ["out.onnx", "out.onnx.data", "out.py"]
    assert (tmp_path / "out.onnx").stat().st_size < (tmp_path / "out.onnx.data").stat().st_size
    session = onnxruntime.InferenceSession(tmp_path / "out.onnx")
    assert session.get_modelmeta().custom_metadata_map["positive_label"] == "spam"


@pytest.mark.parametrize("existing", ["out.onnx", "out.py", "out.onnx.data"])
def test_what_is_there_is_not_overwritten(train, tmp_path, existing):
    (tmp_path / existing).write_text("mine")
    with pytest.raises(UsageError, match=existing):
        train().to_onnx(tmp_path / "out.onnx", texts=MESSAGES)
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == [existing]


def test_a_failure_leaves_nothing_behind(train, tmp_path, monkeypatch):
    monkeypatch.setattr(format_onnx, "_probabilities", lambda *arguments: 1 / 0)
    classifier = train()
    before = set(tmp_path.iterdir())
    with pytest.raises(ZeroDivisionError):
        classifier.to_onnx(tmp_path / "out.onnx", texts=MESSAGES)
    assert set(tmp_path.iterdir()) == before


def test_without_the_extra_it_is_named(train, tmp_path, monkeypatch):
    monkeypatch.setattr("spamgpt.extras.find_spec", lambda name: None)
    with pytest.raises(MissingInputError, match="onnx and onnxruntime") as caught:
        train().to_onnx(tmp_path / "out.onnx")
    assert "spamgpt[onnx]" in caught.value.hint


def test_the_name_has_to_be_that_of_an_onnx_file(train, tmp_path):
    with pytest.raises(UsageError, match=r"ends in \.onnx|no name for an ONNX file"):
        train().to_onnx(tmp_path / "out.bin")
