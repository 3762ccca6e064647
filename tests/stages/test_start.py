import signal
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from spamgpt.classifier.config import ClassifierConfig
from spamgpt.classifier.model import SpamClassifier, load_model
from spamgpt.data.rows import TEXT
from spamgpt.data.tables import read_table
from spamgpt.errors import Interrupted, UsageError
from spamgpt.evaluation.report.lineage import lineage_of
from spamgpt.gpt2.classifier import GPT2Classifier
from spamgpt.stages import fetch, finetune, prepare
from spamgpt.stages.evaluate import seen_in_training
from spamgpt.stages.finetune import FinetuneSettings
from spamgpt.stages.plan import Reading
from spamgpt.stages.start import load_start
from spamgpt.training.trainer import Trainer
from spamgpt.workspace import Artifact, Workspace

# The classifier of the workspace, v1, was trained in full.
ONWARD = FinetuneSettings(
    start_from="v1", unfreeze="last-block", epochs=2, learning_rate=1e-3, device="cpu"
)


@pytest.fixture
def workspace(trained_workspace: Path) -> Workspace:
    return Workspace(trained_workspace)


def tensors(artifact: Artifact) -> dict[str, torch.Tensor]:
    return load_file(artifact.folder / "trained.safetensors")


def test_training_starts_from_the_weights_and_the_head_of_the_classifier(workspace):
    first = workspace.newest("classifiers", "v1")
    start = load_start(finetune.plan(ONWARD, workspace))
    assert isinstance(start.model, GPT2Classifier)
    for name, tensor in tensors(first).items():
        assert torch.equal(start.model.get_parameter(name), tensor), name
    still = finetune.run(replace(ONWARD, learning_rate=0.0), workspace)
    texts = list(read_table(workspace.newest("prepared").file("test.csv"))[TEXT])
    before, after = (
        SpamClassifier.from_artifact(workspace, each, "cpu").predict_proba(texts)
        for each in (first, still)
    )
    assert before == pytest.approx(after, abs=0.02)  # the temperature is fitted again


@pytest.mark.parametrize(
    ("before", "unfreeze"),
    [("all", "head"), ("all", "last-block"), ("last-block", "head"), ("head", "last-block")],
)
def test_the_artifact_holds_what_either_training_changed(workspace, before, unfreeze):
    settings = FinetuneSettings(unfreeze=before, epochs=1, learning_rate=1e-3, device="cpu")
    first = finetune.run(settings, workspace)
    second = finetune.run(
        replace(ONWARD, start_from=first.reference, unfreeze=unfreeze, precision="fp32"), workspace
    )
    gpt2, _ = load_model(workspace.newest("models"))
    pretrained = {f"gpt2.{name}": tensor for name, tensor in gpt2.state_dict().items()}
    found = tensors(second)
    assert found.keys() >= tensors(first).keys()
    newly = {"head": ("head.",), "last-block": ("head.", "gpt2.ln_f.", "gpt2.h.1.")}[unfreeze]
    for name, tensor in found.items():
        if not name.startswith(newly):
            assert torch.equal(tensor, tensors(first)[name]), name
            assert not torch.equal(tensor, pretrained[name]), name
    assert found.keys() == {*tensors(first), *(n for n in found if n.startswith(newly))}
    # The same code loads it, and it answers as it was measured.
    classifier = SpamClassifier.from_artifact(workspace, second, "cpu", "fp32")
    for name, tensor in found.items():
        assert torch.equal(classifier.model.get_parameter(name), tensor), name
    validation = read_table(workspace.newest("prepared").file("validation.csv"))
    probabilities = classifier.predict_proba(list(validation[TEXT]))
    accuracy = ((probabilities[:, 1] > 0.5) == (validation["label"] == "spam")).mean()
    assert accuracy == second.metadata["validation_accuracy"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"unfreeze": "all"}, {"unfreeze": "last-block", "lora_rank": 2}),
        ({"unfreeze": "last-block", "lora_rank": 2}, {"unfreeze": "head"}),
        ({"lora_rank": 2}, {"unfreeze": "last-block"}),
        ({"unfreeze": "last-block", "lora_rank": 2}, {"lora_rank": 3, "dropout": 0.1}),
    ],
)
def test_adapters_are_merged_where_training_goes_on(workspace, before, after):
    settings = FinetuneSettings(epochs=2, learning_rate=0.01, device="cpu", precision="fp32")
    first = finetune.run(replace(settings, **before), workspace)
    second = finetune.run(replace(settings, start_from=first.reference, **after), workspace)
    assert ClassifierConfig.from_file(second.folder / "config.json").lora is None
    assert not any("lora" in name for name in tensors(second))
    texts = read_table(workspace.newest("prepared").file("validation.csv"))
    classifier = SpamClassifier.from_artifact(workspace, second, "cpu", "fp32")
    probabilities = classifier.predict_proba(list(texts[TEXT]))[:, 1]
    log_odds = (np.log(probabilities) - np.log1p(-probabilities)) * classifier.config.temperature
    truth = (texts["label"] == "spam").to_numpy()
    loss = np.logaddexp(0, np.where(truth, -log_odds, log_odds)).mean()
    assert loss == pytest.approx(second.metadata["validation_loss"], abs=1e-5)
    # It started where the first ended.
    start = load_start(finetune.plan(replace(settings, start_from=first.reference), workspace))
    whole = SpamClassifier.from_artifact(workspace, first, "cpu", "fp32").model
    for name, tensor in whole.named_parameters():
        torch.testing.assert_close(start.model.get_parameter(name), tensor, atol=1e-6, rtol=0)


def test_messages_are_read_as_the_classifier_reads_them_and_another_way_is_refused(workspace):
    reading = {"pooling": "mean", "attention": "full", "padding": "40"}
    first = finetune.run(replace(ONWARD, start_from=None, **reading), workspace)
    onward = replace(ONWARD, start_from=first.reference)
    for name, other in asdict(Reading()).items():
        with pytest.raises(UsageError, match=f"reads messages with `{name}=") as caught:
            finetune.run(replace(onward, **{name: other}), workspace)
        assert caught.value.hint == f"Leave `{name}` out."
    for settings, padding in ((onward, 40), (replace(onward, padding="50"), 50)):
        second = finetune.run(settings, workspace)
        config = ClassifierConfig.from_file(second.folder / "config.json")
        assert (config.pooling, config.attention, config.padding) == ("mean", "full", padding)
        assert second.settings | reading | {"padding": str(padding)} == second.settings


def test_a_kept_trunk_is_that_of_the_changed_weights(workspace):
    # The pretrained model's own is kept first, under the same depth.
    finetune.run(replace(ONWARD, start_from=None), workspace)
    kept = finetune.run(ONWARD, workspace)
    computed = finetune.run(replace(ONWARD, cache_limit=0.0), workspace)
    for name, tensor in tensors(computed).items():
        torch.testing.assert_close(tensors(kept)[name], tensor, atol=2e-3, rtol=0)
    exact = [
        finetune.run(replace(ONWARD, precision="fp32", cache_limit=limit), workspace)
        for limit in (None, 0.0)
    ]
    for name, tensor in tensors(exact[0]).items():
        torch.testing.assert_close(tensors(exact[1])[name], tensor, atol=1e-5, rtol=0)


def test_an_unchanged_trunk_is_shared_with_runs_from_the_model(workspace):
    first = finetune.run(replace(ONWARD, start_from=None), workspace)
    before = sorted(workspace.cache.iterdir())
    finetune.run(replace(ONWARD, start_from=first.reference), workspace)
    assert sorted(workspace.cache.iterdir()) == before


def test_the_classifier_is_an_input_on_record(workspace):
    artifact = finetune.run(ONWARD, workspace)
    first = workspace.newest("classifiers", "v1")
    inputs = ["prepared/v1", "models/tiny/v1", "classifiers/v1"]
    assert [entry["artifact"] for entry in artifact.manifest["inputs"]] == inputs
    assert f"trained onward from | classifiers/v1 | {first.digest[:16]}" in (
        artifact.file("README.md").read_text()
    )
    steps = [step.artifact for step in lineage_of([artifact], workspace)]
    assert steps[-2:] == ["classifiers/v1", "classifiers/v2"]


def test_what_either_training_saw_is_known_again(workspace, tmp_path):
    file = tmp_path / "more.tsv"
    file.write_text("".join(f"{'spam' if n % 2 else 'ham'}\tmore {n}\n" for n in range(40)))
    settings = fetch.FetchSettings(str(file), str(workspace.root / "models/tiny/v1"))
    fetch.run(settings, workspace)
    prepare.run(prepare.PrepareSettings(), workspace)
    artifact = finetune.run(replace(ONWARD, prepared="v2", model="tiny/v1"), workspace)
    for prepared in ("v1", "v2"):
        folder = workspace.newest("prepared", prepared)
        for split, share in (("train", 1), ("test", 0)):
            table = read_table(folder.file(f"{split}.csv"))
            assert seen_in_training(artifact, table) == share * len(table)


def test_other_labels_or_another_model_are_refused(workspace, tmp_path, make_model):
    file = tmp_path / "queues.tsv"
    file.write_text("".join(f"{'abc'[n % 3]}\ttext {n}\n" for n in range(60)))
    other = make_model("other", n_embd=16)
    fetch.run(fetch.FetchSettings(str(file), str(other)), workspace)
    prepare.run(prepare.PrepareSettings(), workspace)
    with pytest.raises(UsageError, match=r"tells ham, spam apart; prepared/v2 has a, b, c"):
        finetune.run(ONWARD, workspace)
    with pytest.raises(UsageError, match="was made from models/tiny/v1, not models/other/v1"):
        finetune.run(replace(ONWARD, prepared="v1", model="other"), workspace)
    # Its own model is taken, not the newest.
    assert finetune.plan(replace(ONWARD, prepared="v1"), workspace).model.name == "tiny"


def test_the_positive_label_is_that_of_the_classifier(workspace):
    settings = FinetuneSettings(epochs=1, positive_label="ham", device="cpu")
    first = finetune.run(settings, workspace)
    second = finetune.run(replace(ONWARD, start_from=first.reference), workspace)
    assert ClassifierConfig.from_file(second.folder / "config.json").positive_label == "ham"


def test_an_interrupted_run_goes_on_from_the_same_classifier(workspace, monkeypatch):
    whole = finetune.run(ONWARD, workspace)
    with monkeypatch.context() as patched:
        original, steps = Trainer._step, []

        def step(self, batch):
            original(self, batch)
            steps.append(batch)
            if len(steps) == 5:
                signal.raise_signal(signal.SIGINT)

        patched.setattr(Trainer, "_step", step)
        with pytest.raises(Interrupted):
            finetune.run(ONWARD, workspace)
    finetune.run(FinetuneSettings(epochs=1, device="cpu"), workspace)  # now the newest
    resumed = finetune.run(
        replace(ONWARD, start_from="classifiers/v1"), workspace, resume=True, given={"start_from"}
    )
    assert resumed.digest == whole.digest
    assert resumed.settings["start_from"] == "classifiers/v1"
