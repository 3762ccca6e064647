import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from spamgpt import SpamClassifier
from spamgpt.bundled import CLASSIFIER_FOLDER, MINI_FOLDER
from spamgpt.classifier.config import TRAINED_FILE, ClassifierConfig
from spamgpt.classifier.folder import read_trained
from spamgpt.device import Precision
from spamgpt.errors import BadDataError, MissingInputError, UsageError
from spamgpt.gpt2.folder import load_folder
from spamgpt.gpt2.ngram_counts import BUCKETS
from spamgpt.stages import finetune
from spamgpt.workspace import Workspace

MESSAGES = ["WIN a FREE prize now!! 7", "see you later 8", "", "é😀", "ok at home " * 9]

# Prints the probabilities bit by bit.
ELSEWHERE = """
import sys, torch
from spamgpt import SpamClassifier
torch.set_num_threads(int(sys.argv[1]))
classifier = SpamClassifier.from_pretrained(sys.argv[2], device="cpu", precision=sys.argv[3])
print(*(value.hex() for value in classifier.predict_proba(sys.argv[4:]).ravel().tolist()))
"""


@pytest.fixture
def saved(trained_workspace, tmp_path) -> Path:
    SpamClassifier.from_pretrained(trained_workspace).save_pretrained(tmp_path / "saved")
    return tmp_path / "saved"


@pytest.mark.parametrize(
    ("unfreeze", "precision"), [("all", "fp32"), ("last-block", "bf16"), ("head", "auto")]
)
def test_a_saved_classifier_answers_to_the_bit_without_the_workspace(
    trained_workspace, tmp_path, unfreeze, precision: Precision
):
    settings = finetune.FinetuneSettings(unfreeze=unfreeze, epochs=1, device="cpu")
    trained = finetune.run(settings, Workspace(trained_workspace))
    classifier = SpamClassifier.from_pretrained(trained.folder, device="cpu", precision=precision)
    expected = classifier.predict_proba(MESSAGES)
    classifier.save_pretrained(tmp_path / "a" / "saved")
    trained_workspace.rename(tmp_path / "gone")
    threads = str(torch.get_num_threads())
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, threads, "saved", precision, *MESSAGES],
        cwd=tmp_path / "a",
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [value.hex() for value in expected.ravel().tolist()]


def test_it_is_saved_in_the_precision_of_its_files_whatever_it_computes_in(tmp_path):
    for precision in ("fp32", "bf16"):
        classifier = SpamClassifier.bundled("cpu", precision)
        classifier.save_pretrained(tmp_path / precision)
    full, low = (load_file(tmp_path / name / "model.safetensors") for name in ("fp32", "bf16"))
    assert {tensor.dtype for tensor in low.values()} == {torch.float16}
    assert low.keys() == full.keys()
    assert all(torch.equal(tensor, full[name]) for name, tensor in low.items())
    stored = load_file(CLASSIFIER_FOLDER / TRAINED_FILE)
    name = "h.0.mlp.c_fc.weight"
    assert torch.equal(low[f"transformer.{name}"], stored[f"gpt2.{name}"])


def test_a_saved_folder_has_the_files_that_users_of_transformers_expect(saved, trained_workspace):
    artifact = trained_workspace / "classifiers" / "v1"
    assert sorted(path.name for path in saved.iterdir()) == [
        "README.md",
        "config.json",
        "merges.txt",
        "model.safetensors",
        "spamgpt.json",
        "vocab.json",
    ]
    assert json.loads((saved / "config.json").read_text())["model_type"] == "gpt2"
    assert (saved / "spamgpt.json").read_bytes() == (artifact / "config.json").read_bytes()
    assert (saved / "README.md").read_bytes() == (artifact / "README.md").read_bytes()
    assert list(saved.parent.glob(".*")) == []


def test_a_saved_classifier_can_be_saved_again(saved, tmp_path):
    SpamClassifier.from_pretrained(saved).save_pretrained(tmp_path / "again")
    for path in saved.iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()


def test_what_is_there_is_not_overwritten(saved, trained_workspace, tmp_path):
    classifier = SpamClassifier.from_pretrained(trained_workspace)
    before = {path: path.read_bytes() for path in saved.iterdir()}
    with pytest.raises(UsageError, match="saved already exists"):
        classifier.save_pretrained(saved)
    assert {path: path.read_bytes() for path in saved.iterdir()} == before
    (tmp_path / "empty").mkdir()
    classifier.save_pretrained(tmp_path / "empty")
    assert (tmp_path / "empty" / "spamgpt.json").exists()


def test_a_failure_leaves_nothing_behind(trained_workspace, tmp_path):
    classifier = SpamClassifier.from_pretrained(trained_workspace)
    (trained_workspace / "models" / "tiny" / "v1" / "merges.txt").unlink()
    with pytest.raises(FileNotFoundError):
        classifier.save_pretrained(tmp_path / "b" / "saved")
    assert list((tmp_path / "b").iterdir()) == []


def test_a_folder_is_one_classifier(saved, trained_workspace):
    for folder in (saved, trained_workspace / "classifiers" / "v1"):
        with pytest.raises(UsageError, match="'v2'"):
            SpamClassifier.from_pretrained(folder, "v2")
    with pytest.raises(MissingInputError):
        SpamClassifier.from_pretrained(trained_workspace, "v2")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda t: t.pop("head.bias"), r"missing head\.bias"),
        (lambda t: t.pop("transformer.h.1.ln_1.weight"), r"missing gpt2\.h\.1\.ln_1\.weight"),
        (lambda t: t.update(extra=torch.ones(2)), r"surplus gpt2\.extra"),
        (lambda t: t.update({"head.bias": torch.ones(3)}), r"head\.bias is \(3,\), expected \(2,"),
        (lambda t: t.update({"head.bias": torch.ones(2, dtype=torch.int8)}), r"torch\.int8"),
    ],
)
def test_tensors_of_a_saved_folder_that_do_not_fit_are_named(saved, change, told):
    path = saved / "model.safetensors"
    tensors = {name: tensor.clone() for name, tensor in load_file(path).items()}
    change(tensors)
    save_file(tensors, path)
    with pytest.raises(BadDataError, match=told) as caught:
        SpamClassifier.from_pretrained(saved)
    assert "\n" not in caught.value.message


def write_trained(folder: Path, names: list[str]) -> Path:
    """A classifier folder over mini with those of the bundled classifier's tensors."""
    folder.mkdir()
    config = ClassifierConfig.from_file(CLASSIFIER_FOLDER / "config.json")
    replace(config, ngrams=False).write(folder / "config.json")
    tensors = load_file(CLASSIFIER_FOLDER / TRAINED_FILE)
    save_file({name: tensors.get(name, torch.ones(2)) for name in names}, folder / TRAINED_FILE)
    return folder


def test_n_grams_of_0_2_0_which_had_none_of_words_answer_as_they_did(tmp_path):
    folder, bundled = tmp_path / "saved", SpamClassifier.bundled()
    bundled.save_pretrained(folder)
    with torch.no_grad():
        bundled.model.ngrams.weight[2 * BUCKETS :] = 0
        bundled.model.ngrams.caution[:] = 0
    path = folder / "model.safetensors"
    tensors = {name: tensor.clone() for name, tensor in load_file(path).items()}
    for name in ("ngrams.weight", "ngrams.idf"):
        tensors[name] = tensors[name][: 2 * BUCKETS].clone()
    del tensors["ngrams.caution"]
    save_file(tensors, path)
    old = SpamClassifier.from_pretrained(folder)
    np.testing.assert_array_equal(old.predict_proba(MESSAGES), bundled.predict_proba(MESSAGES))


def of_parts(*prefixes: str) -> list[str]:
    names = load_file(CLASSIFIER_FOLDER / TRAINED_FILE)
    return [name for name in names if name.startswith(prefixes)]


@pytest.mark.parametrize(
    ("prefixes", "unchanged"),
    [
        (("head.",), 4),
        (("head.", "gpt2.ln_f."), 4),
        (("head.", "gpt2.ln_f.", "gpt2.h.3."), 3),
        (("head.", "gpt2.ln_f.", "gpt2.h.3.", "gpt2.h.2."), 2),
        (("head.", "gpt2."), 0),
    ],
)
def test_which_blocks_were_frozen_follows_from_the_names_of_the_tensors(
    tmp_path, prefixes, unchanged
):
    folder = write_trained(tmp_path / "classifier", of_parts(*prefixes))
    files = read_trained(folder, load_folder(MINI_FOLDER), MINI_FOLDER)
    assert files.unchanged == unchanged
    stored = load_file(CLASSIFIER_FOLDER / TRAINED_FILE)
    for name, parameter in files.model.named_parameters():
        assert torch.equal(parameter, stored[name].float()) is name.startswith(prefixes)


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (lambda: of_parts("head.weight"), r"missing head\.bias"),
        (lambda: of_parts("gpt2."), r"missing head\.bias, head\.weight"),
        (lambda: of_parts("head.", "gpt2.h.1."), r"missing gpt2\.h\.2\..* and \d+ more"),
        (lambda: of_parts("head.", "gpt2.ln_f.weight"), r"missing gpt2\.ln_f\.bias"),
        (lambda: [*of_parts("head."), "gpt2.h.0.lora"], r"surplus gpt2\.h\.0\.lora"),
        (list, r"missing head\.bias, head\.weight"),
    ],
)
def test_trained_tensors_that_are_missing_or_surplus_are_named(tmp_path, names, told):
    folder = write_trained(tmp_path / "classifier", names())
    with pytest.raises(BadDataError, match=told) as caught:
        read_trained(folder, load_folder(MINI_FOLDER), MINI_FOLDER)
    assert "\n" not in caught.value.message


def test_loading_a_saved_classifier_lowers_what_the_original_lowers(trained_workspace, tmp_path):
    original = SpamClassifier.from_pretrained(trained_workspace, precision="bf16")
    original.save_pretrained(tmp_path / "saved")
    again = SpamClassifier.from_pretrained(tmp_path / "saved", precision="bf16")
    kinds = [
        [type(module) for module in classifier.model.modules()] for classifier in (original, again)
    ]
    assert kinds[0] == kinds[1]
    np.testing.assert_array_equal(original.predict_proba(MESSAGES), again.predict_proba(MESSAGES))
