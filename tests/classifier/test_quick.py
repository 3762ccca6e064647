import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from spamgpt import SpamClassifier
from spamgpt.bundled import CLASSIFIER_FOLDER, MINI_FOLDER
from spamgpt.classifier import quick
from spamgpt.classifier.config import CONFIG_FILE, TRAINED_FILE
from spamgpt.classifier.quick import QuickClassifier, read_quickly
from spamgpt.gpt2.folder import WEIGHTS_FILE

LONG = "Meet me where the river bends, and bring the blue book along. " * 60
TEXTS = ["WINNER! Claim your free prize now, call 09061701461", "see you at 7", "", LONG]


def in_torch() -> SpamClassifier:
    return SpamClassifier.bundled("cpu", "fp32")


@pytest.fixture
def folders(tmp_path) -> tuple[Path, Path]:
    """Copies of the bundled classifier and of its model, through links but for what is changed."""
    for name, original in (("classifier", CLASSIFIER_FOLDER), ("model", MINI_FOLDER)):
        (tmp_path / name).mkdir()
        for file in original.iterdir():
            (tmp_path / name / file.name).symlink_to(file)
    return tmp_path / "classifier", tmp_path / "model"


def must_not_load():
    raise AssertionError("torch was loaded")


def test_a_few_messages_are_answered_in_numpy_as_in_torch(folders):
    classifier = read_quickly(*folders, must_not_load)
    expected = in_torch()
    assert isinstance(classifier, QuickClassifier)
    assert (classifier.labels, classifier.context) == (expected.labels, expected.context)
    assert classifier.card == expected.card
    found, wanted = classifier.predictions(TEXTS), expected.predictions(TEXTS)
    np.testing.assert_allclose(found.probabilities, wanted.probabilities, atol=1e-5)
    assert found.windows == wanted.windows
    assert found.windows[-1] > 1
    [spans, others] = [each.explain(TEXTS[0], "spam") for each in (classifier, expected)]
    assert [(s.start, s.end) for s in spans] == [(s.start, s.end) for s in others]
    np.testing.assert_allclose([s.weight for s in spans], [s.weight for s in others], atol=1e-3)


def test_many_messages_are_answered_in_torch(folders, monkeypatch):
    loaded = []

    def load():
        loaded.append(in_torch())
        return loaded[-1]

    classifier = read_quickly(*folders, load)
    before = classifier.predict_proba(TEXTS[:2])
    assert not loaded
    monkeypatch.setattr(quick, "_WORTH_LOADING", 1e6)
    after = [classifier.predict_proba(TEXTS[:2]) for _ in range(2)]
    assert len(loaded) == 1
    for found in after:
        np.testing.assert_allclose(found, before, atol=1e-5)
    np.testing.assert_array_equal(after[0], loaded[0].predict_proba(TEXTS[:2]))


@pytest.mark.parametrize(
    "change",
    [
        {"attention": "full"},
        {"pooling": "first"},
        {"pooling": "mean-positions", "padding": 64},
        {"lora": {"rank": 1, "alpha": 1, "targets": ["attn.c_attn"]}},
        {"ngrams": False},  # its tensors are there
        {"labels": ["ham"]},
    ],
)
def test_what_numpy_cannot_compute_is_loaded_in_torch(folders, change):
    file = folders[0] / CONFIG_FILE
    values = json.loads(file.read_text()) | change
    file.unlink()
    file.write_text(json.dumps(values))
    assert read_quickly(*folders, lambda: "torch") == "torch"


@pytest.mark.parametrize("change", ["bfloat16", "missing", "shape", "cut", "absent"])
def test_a_file_that_is_not_as_expected_is_left_to_torch_and_its_errors(folders, change):
    file = folders[0] / TRAINED_FILE
    tensors, content = load_file(file), file.read_bytes()
    file.unlink()
    match change:
        case "bfloat16":
            tensors["head.weight"] = tensors["head.weight"].to(torch.bfloat16)
        case "missing":
            del tensors["head.weight"]
        case "shape":
            tensors["head.weight"] = tensors["head.weight"][:1].clone()
    if change == "cut":
        file.write_bytes(content[:-9])
    elif change != "absent":
        save_file(tensors, file)
    assert read_quickly(*folders, lambda: "torch") == "torch"


def test_a_large_model_is_mapped_by_torch_and_not_read(folders, monkeypatch):
    monkeypatch.setattr(quick, "_MOST_BYTES", (folders[1] / WEIGHTS_FILE).stat().st_size - 1)
    assert read_quickly(*folders, lambda: "torch") == "torch"
