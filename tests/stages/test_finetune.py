import errno
import json
import os
import signal
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from sklearn.metrics import f1_score

from spamgpt.classifier.config import ClassifierConfig
from spamgpt.classifier.model import SpamClassifier
from spamgpt.data.tables import read_table
from spamgpt.errors import IntegrityError, Interrupted, MissingInputError, UsageError
from spamgpt.evaluation.calibration import calibration_error, fit_temperature
from spamgpt.reporting import SILENT, Reporter
from spamgpt.stages import fetch, finetune, prepare
from spamgpt.stages.finetune import FinetuneSettings, as_published
from spamgpt.training import checkpoint
from spamgpt.training.trainer import Trainer
from spamgpt.workspace import Artifact, Workspace

SETTINGS = FinetuneSettings(unfreeze="all", epochs=3, learning_rate=3e-3, device="cpu")


@pytest.fixture
def workspace(trained_workspace: Path) -> Workspace:
    return Workspace(trained_workspace)


@pytest.fixture
def stop_after(monkeypatch):
    """Lets the next fine-tuning be interrupted, as by Ctrl-C, after some steps."""

    def arm(steps: int) -> None:
        original = Trainer._step
        done = 0

        def step(self, *arguments):
            nonlocal done
            loss = original(self, *arguments)
            done += 1
            if done == steps:
                os.kill(os.getpid(), signal.SIGINT)
            return loss

        monkeypatch.setattr(Trainer, "_step", step)

    return arm


def tensors(artifact: Artifact) -> dict[str, torch.Tensor]:
    return load_file(artifact.folder / "trained.safetensors")


def test_a_classifier_holds_what_training_changed_and_its_record(workspace):
    artifact = finetune.run(
        FinetuneSettings(unfreeze="last-block", epochs=2, device="cpu"), workspace
    )
    assert sorted(artifact.files) == [
        "README.md",
        "config.json",
        "curves.png",
        "history.csv",
        "seen.npz",
        "trained.safetensors",
    ]
    names = tensors(artifact).keys()
    assert all(n.startswith(("gpt2.h.1.", "gpt2.ln_f.", "head.")) for n in names)
    assert len(names) == 12 + 2 + 2
    assert list(pd.read_csv(artifact.folder / "history.csv").columns) == [
        "epoch",
        "training_loss",
        "training_accuracy",
        "validation_loss",
        "validation_accuracy",
    ]
    config = json.loads((artifact.folder / "config.json").read_text())
    assert config == {
        "labels": ["ham", "spam"],
        "positive_label": "spam",
        "threshold": artifact.metadata["calibration"]["threshold"],
        "unfreeze": "last-block",
        "temperature": artifact.metadata["calibration"]["temperature"],
        "pooling": "last",
        "attention": "causal",
        "padding": None,
        "lora": None,
        "ngrams": False,
        "format_version": 1,
    }
    inputs = [entry["artifact"] for entry in artifact.manifest["inputs"]]
    assert inputs == ["prepared/v1", "models/tiny/v1"]


def test_the_same_settings_give_the_same_bytes_and_another_seed_others(workspace):
    first, again = finetune.run(SETTINGS, workspace), finetune.run(SETTINGS, workspace)
    other = finetune.run(
        FinetuneSettings(unfreeze="all", epochs=3, learning_rate=3e-3, seed=7), workspace
    )
    assert first.digest == again.digest != other.digest


@pytest.mark.parametrize("steps", [3, 11, 24])
def test_an_interrupted_run_goes_on_to_the_same_bytes(workspace, stop_after, monkeypatch, steps):
    whole = finetune.run(SETTINGS, workspace)
    with monkeypatch.context():
        stop_after(steps)
        with pytest.raises(Interrupted) as caught:
            finetune.run(SETTINGS, workspace)
    assert caught.value.exit_status == 130
    assert "--resume" in caught.value.hint
    monkeypatch.undo()
    resumed = finetune.run(FinetuneSettings(), workspace, resume=True, given=set())
    assert resumed.digest == whole.digest
    assert resumed.settings | {"device": "cpu"} == {
        **whole.settings,
        "prepared": "prepared/v1",
        "model": "models/tiny/v1",
    }
    assert not (workspace.root / "checkpoints").exists()


def test_a_resumed_run_honours_every_training_option(workspace, stop_after, monkeypatch):
    settings = replace(
        SETTINGS,
        batch_size=4,
        accumulate=2,
        schedule="cosine",
        warmup=0.2,
        class_weights="balanced",
        clip=0.5,
        dropout=0.2,
        label_smoothing=0.1,
        patience=1,
    )
    whole = finetune.run(settings, workspace)
    with monkeypatch.context():
        stop_after(13)
        with pytest.raises(Interrupted):
            finetune.run(settings, workspace)
    monkeypatch.undo()
    resumed = finetune.run(FinetuneSettings(), workspace, resume=True, given=set())
    assert resumed.digest == whole.digest
    assert resumed.settings["dropout"] == 0.2
    plain = finetune.run(replace(settings, dropout=0.0), workspace)
    assert plain.digest != whole.digest


def test_resuming_takes_the_run_with_the_given_options(workspace, stop_after, monkeypatch):
    for epochs in (2, 3):
        stop_after(3)
        with pytest.raises(Interrupted):
            finetune.run(FinetuneSettings(epochs=epochs, device="cpu"), workspace)
        monkeypatch.undo()
    with pytest.raises(MissingInputError) as caught:
        finetune.run(FinetuneSettings(epochs=4), workspace, resume=True, given={"epochs"})
    assert "`epochs=3`" in caught.value.hint
    resumed = finetune.run(FinetuneSettings(epochs=2), workspace, resume=True, given={"epochs"})
    assert resumed.settings["epochs"] == 2


def test_nothing_to_resume_is_told(workspace):
    with pytest.raises(MissingInputError, match="no interrupted run of finetune"):
        finetune.run(SETTINGS, workspace, resume=True)


def test_the_plan_for_gpt2_has_the_published_number_of_parameters(workspace):
    shape = {"n_layer": 12, "n_head": 12, "n_embd": 768}

    @dataclass(frozen=True)
    class Nothing:
        pass

    with workspace.new("models", Nothing(), name="gpt2") as draft:  # planned without its weights
        (draft.folder / "config.json").write_text(json.dumps({"model_type": "gpt2", **shape}))
    planned = finetune.plan(FinetuneSettings(model="gpt2"), workspace)
    assert planned.trained_parameters == 7_090_946
    assert planned.all_parameters == 124_441_346
    assert [(part.name, part.tensors, part.trained) for part in planned.parts] == [
        ("embeddings", 2, False),
        ("blocks 1-11", 132, False),
        ("block 12", 12, True),
        ("final layer norm", 2, True),
        ("head", 2, True),
    ]


def test_a_policy_that_is_none_is_refused_with_the_choices(workspace):
    with pytest.raises(UsageError, match="last-9-blocks") as caught:
        finetune.run(FinetuneSettings(unfreeze="last-9-blocks"), workspace)
    assert "last-block" in caught.value.hint


def test_damaged_inputs_are_named_before_training(workspace):
    for path in ("prepared/v1/train.csv", "models/tiny/v1/vocab.json"):
        file = workspace.root / path
        whole = file.read_bytes()
        file.write_bytes(whole[:-1])
        with pytest.raises(IntegrityError, match=file.name):
            finetune.run(SETTINGS, workspace)
        file.write_bytes(whole)


def test_long_messages_are_told_not_cut_silently(tmp_path, make_model):
    file = tmp_path / "a.tsv"
    rows = "".join(f"{'ham' if n % 2 else 'spam'}\t{'long ' * 40}{n}\n" for n in range(30))
    file.write_text(rows)
    workspace = Workspace(tmp_path / "workspace")
    fetch.run(fetch.FetchSettings(str(file), str(make_model())), workspace)
    prepare.run(prepare.PrepareSettings(), workspace)
    heard = []

    class Listener(Reporter):
        def warn(self, text: str) -> None:
            heard.append(text)

    finetune.run(FinetuneSettings(epochs=1, device="cpu"), workspace, Listener())
    assert heard[0] == ("Messages of the train split cut to the model's context of 64 tokens: 21.")


def test_more_than_two_labels_are_learnt(tmp_path, make_model):
    file = tmp_path / "a.tsv"
    words = {"ham": "see you", "promo": "big sale", "spam": "WIN a prize"}
    rows = "".join(f"{label}\t{word} {n}\n" for n in range(40) for label, word in words.items())
    file.write_text(rows)
    workspace = Workspace(tmp_path / "workspace")
    fetch.run(fetch.FetchSettings(str(file), str(make_model())), workspace)
    prepare.run(prepare.PrepareSettings(), workspace)
    artifact = finetune.run(SETTINGS, workspace, SILENT)
    assert artifact.metadata["validation_accuracy"] == 1
    assert tensors(artifact)["head.weight"].shape == (3, 32)


@pytest.mark.gpu
def test_a_gpu_learns_the_same(workspace):
    if not torch.cuda.is_available():
        pytest.skip("there is no GPU")
    on_gpu = finetune.run(
        FinetuneSettings(unfreeze="all", epochs=3, learning_rate=3e-3, device="cuda"), workspace
    )
    on_cpu = finetune.run(SETTINGS, workspace)
    assert on_gpu.metadata["validation_loss"] == pytest.approx(
        on_cpu.metadata["validation_loss"], abs=1e-2
    )


def test_a_full_disk_at_the_end_costs_no_training(workspace, monkeypatch):
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "trained.safetensors")

    with monkeypatch.context() as patched:
        patched.setattr("spamgpt.gpt2.weights.write_weights", full)
        with pytest.raises(OSError, match="No space left"):
            finetune.run(SETTINGS, workspace)
    monkeypatch.setattr(Trainer, "_step", lambda *arguments: pytest.fail("trained again"))
    resumed = finetune.run(FinetuneSettings(), workspace, resume=True, given=set())
    assert resumed.digest == workspace.newest("classifiers", "v1").digest


STEPS = 11  # of an epoch of the 84 messages


@pytest.mark.parametrize(
    ("interval", "saved_after"),
    [
        (-1, [(done, step) for done in range(4) for step in range(1, STEPS)]),
        (3600, []),
    ],
)
def test_checkpoints_are_after_the_first_and_the_last_epoch_and_now_and_then(
    workspace, monkeypatch, interval, saved_after
):
    saved = []
    monkeypatch.setattr(checkpoint, "_INTERVAL", interval)
    monkeypatch.setattr(checkpoint, "_TIMES_COST", -1)
    monkeypatch.setattr(
        "spamgpt.training.checkpoint.Checkpoint.save",
        lambda self, state: saved.append(
            (len(state["state"]["history"]), state["state"]["batches_done"])
        ),
    )
    finetune.run(FinetuneSettings(epochs=4, device="cpu"), workspace)
    ends = [(done, STEPS) for done in ((1, 4) if interval > 0 else (1, 2, 3, 4))]
    assert sorted(saved) == sorted([*saved_after, *ends])


def validation_scores(artifact: Artifact, workspace: Workspace):
    table = read_table(workspace.root / "prepared" / "v1" / "validation.csv")
    classifier = SpamClassifier.from_artifact(workspace, artifact, "cpu")
    return (table["label"] == "spam").to_numpy(), classifier.predict_proba(list(table["text"]))


def test_temperature_and_threshold_are_those_that_the_validation_split_asks_for(workspace):
    artifact = finetune.run(FinetuneSettings(epochs=1, threshold_for="f1", device="cpu"), workspace)
    found = artifact.metadata["calibration"]
    is_spam, probabilities = validation_scores(artifact, workspace)
    # Probabilities are what the temperature left; another fit finds nothing more to do.
    assert fit_temperature(np.log(probabilities), is_spam.astype(int)) == pytest.approx(1, abs=0.01)
    assert found["temperature"] != pytest.approx(1, abs=0.01)
    called = probabilities[:, 1] >= found["threshold"]
    assert found["f1"] == pytest.approx(f1_score(is_spam, called))
    # Half of the best F1 that these probabilities let expect (Lipton et al. 2014).
    spam = probabilities[:, 1]
    expected = [2 * spam[spam >= t].sum() / ((spam >= t).sum() + spam.sum()) for t in spam]
    assert found["threshold"] == pytest.approx(max(expected) / 2, abs=1e-3)
    assert found["ece"] == pytest.approx(
        calibration_error(is_spam.astype(int), probabilities), abs=2e-3
    )


def test_the_test_split_touches_neither(workspace):
    before = finetune.run(SETTINGS, workspace)
    path = workspace.root / "prepared" / "v1" / "test.csv"
    path.write_text("not even a table")
    again = finetune.run(SETTINGS, workspace)
    assert again.digest == before.digest


def test_the_ham_that_may_be_lost_sets_the_threshold(workspace):
    made = {
        most: finetune.run(
            FinetuneSettings(epochs=1, max_false_positive_rate=most, device="cpu"), workspace
        )
        for most in ("0%", "50%", "100%")
    }
    losses = []
    for most, artifact in made.items():
        is_spam, probabilities = validation_scores(artifact, workspace)
        config = ClassifierConfig.from_file(artifact.folder / "config.json")
        called = np.array(config.decide(probabilities)) == "spam"
        losses.append((called & ~is_spam).sum() / (~is_spam).sum())
        assert losses[-1] <= float(most[:-1]) / 100
        assert artifact.metadata["calibration"]["false_positive_rate"] == losses[-1]
        assert (
            artifact.metadata["calibration"]["recall"] == (called & is_spam).sum() / is_spam.sum()
        )
    assert losses[0] == 0
    # The weights are the same: only the threshold differs.
    first, *others = (tensors(artifact) for artifact in made.values())
    assert all(torch.equal(first[name], other[name]) for other in others for name in first)


def test_at_most_one_ham_in_a_hundred_is_lost_and_the_card_tells_the_choice(workspace):
    artifact = finetune.run(SETTINGS, workspace)
    found = artifact.metadata["calibration"]
    assert artifact.settings["threshold_for"] == found["threshold_for"] == "false-positive-rate"
    assert artifact.settings["max_false_positive_rate"] == "1%"
    assert (found["false_positives"], found["others"], found["allowed"]) == (0, 8, 0)
    card = " ".join(artifact.file("README.md").read_text().split())
    assert "It is the threshold for at most 1% of ham lost: catches" in card
    assert "(95% interval 0.0% to 32.4%; 1% of 8 is less than one message" in card
    plain = finetune.run(replace(SETTINGS, threshold_for="accuracy"), workspace)
    assert plain.metadata["calibration"]["threshold"] == 0.5
    assert plain.settings["max_false_positive_rate"] is None


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"threshold_for": "f1", "max_false_positive_rate": "1%"}, "contradict each other"),
        ({"threshold_for": "recall"}, "`threshold_for` is 'recall'"),
    ],
)
def test_a_choice_of_the_threshold_that_cannot_be_is_told_before_training(workspace, changes, told):
    with pytest.raises(UsageError, match=told):
        finetune.run(FinetuneSettings(**changes), workspace)


def test_a_threshold_that_catches_little_is_warned_of():
    heard = []

    class Listener(Reporter):
        def warn(self, text: str) -> None:
            heard.append(text)

    labels = {"positive_label": "spam", "other_label": "ham", "max_false_positive_rate": "1%"}
    for goal, recall in (("f1", 0.1), ("false-positive-rate", 0.9), ("false-positive-rate", 0.1)):
        record = labels | {"threshold_for": goal, "recall": recall}
        finetune._warn_of_threshold(record, Listener())
    assert len(heard) == 1
    assert "catches only 10.0% of the spam, since at most 1% of the ham may be lost" in heard[0]


def test_a_loss_that_cannot_be_is_told_before_training(workspace):
    with pytest.raises(UsageError, match="not a percentage"):
        finetune.run(FinetuneSettings(max_false_positive_rate="half"), workspace)


def test_with_more_labels_there_is_a_temperature_and_no_threshold(workspace, tmp_path):
    file = tmp_path / "queues.tsv"
    words = {"bill": "pay invoice", "post": "parcel late", "chat": "hello there"}
    file.write_text(
        "".join(f"{label}\t{text} {n}\n" for n in range(20) for label, text in words.items())
    )
    fetch.run(fetch.FetchSettings(str(file), str(workspace.root / "models/tiny/v1")), workspace)
    prepare.run(prepare.PrepareSettings(), workspace)
    for choice in ({"max_false_positive_rate": "1%"}, {"threshold_for": "f1"}):
        with pytest.raises(UsageError, match=f"`{next(iter(choice))}` is for two labels"):
            finetune.run(FinetuneSettings(**choice), workspace)
    artifact = finetune.run(FinetuneSettings(epochs=1, device="cpu"), workspace)
    assert set(artifact.metadata["calibration"]) == {"temperature", "ece_before", "ece"}


def test_the_positive_label_may_be_another_one(workspace):
    settings = FinetuneSettings(epochs=1, positive_label="ham", device="cpu")
    artifact = finetune.run(settings, workspace)
    config = ClassifierConfig.from_file(artifact.folder / "config.json")
    assert config.positive_label == "ham"
    assert "threshold" in artifact.metadata["calibration"]
    # The weights do not depend on it.
    usual = finetune.run(FinetuneSettings(epochs=1, device="cpu"), workspace)
    assert (artifact.folder / "trained.safetensors").read_bytes() == (
        usual.folder / "trained.safetensors"
    ).read_bytes()


def test_a_positive_label_that_the_data_lack_is_refused_with_those_they_have(workspace):
    with pytest.raises(UsageError, match="`positive_label` 'Spam' is no label") as caught:
        finetune.run(FinetuneSettings(positive_label="Spam"), workspace)
    assert "ham, spam" in caught.value.hint


def test_hyper_parameters_that_cannot_be_are_refused_before_training(workspace):
    for change in ({"epochs": 0}, {"batch_size": 0.5}, {"learning_rate": -1.0}):
        with pytest.raises(UsageError, match=f"`{next(iter(change))}` is"):
            finetune.run(FinetuneSettings(**change), workspace)


class Warnings(Reporter):
    def __init__(self) -> None:
        self.warned: list[str] = []

    def warn(self, text: str) -> None:
        self.warned.append(text)


def test_the_published_recipe_reads_trains_and_measures_as_published(workspace):
    prepare.run(prepare.PrepareSettings(recipe="published"), workspace)
    settings = as_published(FinetuneSettings(epochs=2, device="cpu"), {"epochs"})
    reporter = Warnings()
    artifact = finetune.run(settings, workspace, reporter)
    assert reporter.warned == []
    config = ClassifierConfig.from_file(artifact.file("config.json"))
    longest = max(
        len(ids)
        for ids in SpamClassifier.from_artifact(workspace, artifact).tokenizer.encode(
            list(read_table(workspace.newest("prepared").file("train.csv"))["text"])
        )
    )
    assert (config.pooling, config.padding, config.threshold) == ("last-position", longest, 0.5)
    periodic = pd.read_csv(artifact.file("periodic.csv"))
    assert list(periodic["measure"]) == ["loss", "accuracy", "accuracy"]
    assert list(periodic["messages_seen"]) == [8, 56, 112]
    assert artifact.file("periodic.png").stat().st_size > 10_000
    assert artifact.metadata["kept_epoch"] == 2


def test_what_is_given_goes_before_the_published_recipe():
    settings = FinetuneSettings(pooling="last", padding="none", max_false_positive_rate="2%")
    given = {"pooling", "padding", "max_false_positive_rate"}
    made = as_published(settings, given)
    assert (made.pooling, made.padding, made.threshold_for) == ("last", "none", None)
    assert (made.recipe, made.select, made.precision) == ("published", "last", "fp32")


def test_the_published_recipe_on_other_splits_is_warned_of(workspace):
    reporter = Warnings()
    finetune.run(as_published(FinetuneSettings(epochs=1), {"epochs"}), workspace, reporter)
    assert any("not prepared with `recipe=published`" in text for text in reporter.warned)
