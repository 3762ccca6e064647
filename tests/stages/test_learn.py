import multiprocessing
import signal
from dataclasses import replace
from pathlib import Path

import pytest
from filelock import FileLock

from spamgpt.bundled import MESSAGES_FILE
from spamgpt.classifier.model import SpamClassifier
from spamgpt.data.corrections import Corrections
from spamgpt.data.tables import read_table
from spamgpt.errors import Interrupted, MissingInputError, UsageError
from spamgpt.stages import fetch, finetune, learn, prepare
from spamgpt.stages.learn import Judged, LearnSettings, _against
from spamgpt.training.checkpoint import Checkpoint, places
from spamgpt.training.trainer import Trainer
from spamgpt.workspace import Workspace

# What the tiny classifier takes for the other label.
WRONG = [(f"see you at the FREE entry {number}", "ham") for number in range(4)]
WRONG += [(f"im later then, your invoice {number}", "spam") for number in range(4)]
SETTINGS = LearnSettings(epochs=6, learning_rate=3e-3, device="cpu")


@pytest.fixture
def workspace(trained_workspace: Path) -> Workspace:
    return Workspace(trained_workspace)


def teach(workspace: Workspace) -> None:
    Corrections(workspace).change(WRONG)


def right(workspace: Workspace, named: str | None = None) -> int:
    classifier = SpamClassifier.from_pretrained(workspace.root, named, "cpu")
    texts, labels = zip(*WRONG, strict=True)
    return sum(map(str.__eq__, classifier.predict(texts), labels))


def test_the_newest_classifier_learns_and_is_replaced(workspace):
    teach(workspace)
    before = right(workspace)
    found = learn.run(SETTINGS, workspace)
    assert found
    assert found.classifier
    assert found.reason is None
    assert found.classifier.reference == "classifiers/v2"
    assert found.before.reference == "classifiers/v1"
    assert workspace.newest("classifiers").reference == "classifiers/v2"
    assert found.corrections.messages == len(WRONG)
    assert found.corrections.right_before == before < found.corrections.right_after
    assert found.corrections.right_after == right(workspace)
    assert found.corrections.loss_after < found.corrections.loss_before
    # It knows what it knew.
    assert found.validation.messages == 12
    assert found.validation.right_after >= found.validation.right_before - 1
    inputs = [entry["artifact"] for entry in found.classifier.manifest["inputs"]]
    assert inputs == ["prepared/v2", "models/tiny/v1", "classifiers/v1"]
    assert found.classifier.settings["replay"] == SETTINGS.replay
    assert found.to_dict()["classifier"] == "classifiers/v2"


def test_what_was_learnt_is_not_learnt_twice(workspace, monkeypatch):
    teach(workspace)
    first = learn.run(SETTINGS, workspace)
    assert learn.run(SETTINGS, workspace) is None
    Corrections(workspace).teach("URGENT free gift from your aunt, call home", "ham")
    second = learn.run(SETTINGS, workspace)
    assert first
    assert second
    # The rate is not lowered again and again.
    default = replace(SETTINGS, learning_rate=None)
    assert second.before == first.classifier
    Corrections(workspace).teach("Claim your FREE seat at our table, love mum", "ham")
    monkeypatch.setattr(learn, "_against", lambda corrections, validation: [])  # whatever it learns
    third = learn.run(default, workspace)
    assert third
    assert third.classifier
    assert third.classifier.settings["learning_rate"] == SETTINGS.learning_rate


def test_by_default_the_rate_is_half_of_the_classifiers(workspace):
    teach(workspace)
    found = learn.run(replace(SETTINGS, learning_rate=None), workspace)
    assert found
    assert found.classifier
    assert found.classifier.settings["learning_rate"] == 1.5e-3


JUDGED = Judged(100, 90, 90, 0.3, 0.2, 1.0)


@pytest.mark.parametrize(
    ("corrections", "validation", "reasons"),
    [
        ({"right_after": 91, "loss_after": 0.4}, {}, []),
        ({}, {"right_after": 89}, []),
        ({}, {"right_after": 99, "p_value": 0.01}, []),
        ({"right_after": 89}, {}, ["not better on the corrections: 89 of 100"]),
        ({"loss_after": 0.3}, {}, ["not better on the corrections: 90 of 100"]),
        ({}, {"right_after": 80, "p_value": 0.01}, ["worse on the validation split"]),
        ({"right_after": 89}, {"right_after": 80, "p_value": 0.01}, ["worse", "not better"]),
    ],
)
def test_a_better_one_is_kept_and_no_other(corrections, validation, reasons):
    found = _against(replace(JUDGED, **corrections), replace(JUDGED, **validation))
    assert len(found) == len(reasons)
    assert all(reason in text for reason, text in zip(reasons, found, strict=True))


def test_one_that_is_worse_on_validation_is_not_kept(workspace):
    other = {"ham": "spam", "spam": "ham"}
    # Enough messages for validation to tell more than chance.
    prepared = prepare.run(prepare.PrepareSettings(split="40/50/10"), workspace)
    trained = finetune.FinetuneSettings(
        unfreeze="all",
        epochs=5,
        learning_rate=3e-3,
        threshold_for="accuracy",
        select="last",  # the best epoch may be one that changed little
        device="cpu",
    )
    finetune.run(trained, workspace)
    train = read_table(prepared.file("train.csv"))
    Corrections(workspace).change(
        (text, other[label]) for text, label in zip(train["text"], train["label"], strict=True)
    )
    found = learn.run(replace(SETTINGS, epochs=10), workspace)
    assert found
    assert found.classifier is None
    assert found.reason
    assert "worse on the validation split by more than chance" in found.reason
    assert found.validation.right_after < found.validation.right_before
    assert workspace.newest("classifiers").reference == "classifiers/v2"
    assert not places(workspace.root)


def test_a_classifier_that_came_meanwhile_is_not_replaced(workspace, monkeypatch):
    teach(workspace)
    train = Trainer.train

    def with_another(self, *arguments):
        monkeypatch.setattr(Trainer, "train", train)
        settings = finetune.FinetuneSettings(prepared="v1", epochs=1, device="cpu")
        finetune.run(settings, workspace)
        return train(self, *arguments)

    monkeypatch.setattr(Trainer, "train", with_another)
    found = learn.run(SETTINGS, workspace)
    assert found
    assert found.classifier is None
    assert found.reason == "classifiers/v2 has come meanwhile."


def test_without_corrections_there_is_nothing_to_learn(workspace):
    with pytest.raises(MissingInputError, match="no corrections"):
        learn.run(SETTINGS, workspace)


def test_corrections_that_cannot_be_trained_on_are_told(workspace):
    corrections = Corrections(workspace)
    corrections.teach("a headline", "news")
    held_out = read_table(workspace.newest("prepared").file("test.csv"))["text"].iloc[0]
    corrections.teach(held_out, "spam")
    with pytest.raises(MissingInputError, match="None of the corrections") as caught:
        learn.run(SETTINGS, workspace)
    assert caught.value.hint.startswith("Its labels are ham, spam;")


def test_two_processes_do_not_learn_at_once(workspace):
    teach(workspace)
    with (
        FileLock(workspace.root / ".learning.lock"),
        pytest.raises(UsageError, match="Another process is learning"),
    ):
        learn.run(SETTINGS, workspace)


def test_an_interrupted_run_goes_on(workspace, monkeypatch):
    teach(workspace)
    save = Checkpoint.save

    def interrupt(self, state):
        save(self, state)
        monkeypatch.setattr(Checkpoint, "save", save)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Checkpoint, "save", interrupt)
    with pytest.raises(Interrupted) as caught:
        learn.run(SETTINGS, workspace)
    assert "spamgpt learn --train" in caught.value.hint
    monkeypatch.undo()
    found = learn.run(SETTINGS, workspace)
    assert found
    assert found.classifier
    assert not places(workspace.root)


def in_another_process(root: Path, found: "multiprocessing.Queue[str]") -> None:
    learnt = learn.run(SETTINGS, Workspace(root))
    assert learnt
    assert learnt.classifier
    found.put(learnt.classifier.reference)


def test_a_service_can_learn_in_another_process(workspace):
    teach(workspace)
    context = multiprocessing.get_context("spawn")
    found: multiprocessing.Queue[str] = context.Queue()
    process = context.Process(target=in_another_process, args=(workspace.root, found))
    process.start()
    assert found.get(timeout=300) == "classifiers/v2"
    process.join()


def test_an_imported_classifier_learns_with_the_messages_that_are_there(tmp_path, workspace):
    # One from elsewhere, whose training messages are not known here.
    saved = tmp_path / "saved"
    SpamClassifier.from_pretrained(workspace.root, device="cpu").save_pretrained(saved)
    from spamgpt.stages import import_

    imported = import_.run(import_.ImportSettings(str(saved)), workspace)
    teach(workspace)
    found = learn.run(SETTINGS, workspace)
    assert found
    assert found.before == imported
    assert found.classifier
    # However strict the one before is: what its threshold was chosen for is not known here.
    assert found.classifier.settings["max_false_positive_rate"] == "1%"
    assert found.classifier.metadata["calibration"]["false_positives"] == 0  # 1 % of six


@pytest.mark.slow
def test_the_bundled_classifier_learns_in_an_empty_workspace(tmp_path):
    workspace = Workspace(tmp_path / "workspace")
    text = "lets talk about your pension over coffee"
    Corrections(workspace).change([(text, "spam"), ("Your club: pay the annual fee", "ham")])
    assert learn.labels_in_use(workspace) == ["ham", "spam"]
    found = learn.run(LearnSettings(epochs=1, device="cpu"), workspace)
    assert found
    assert found.before.reference == "classifiers/v1"
    assert found.classifier
    calibration = found.classifier.metadata["calibration"]
    assert 0 < calibration["allowed"] <= 0.01 * calibration["others"]
    assert calibration["false_positives"] <= calibration["allowed"]
    known = set(read_table(MESSAGES_FILE)["text"])
    train = read_table(found.prepared.file("train.csv"))
    assert set(train["text"]) - known == {text, "Your club: pay the annual fee"}


def test_a_data_set_of_other_labels_is_not_mixed_up(tmp_path, make_model):
    file = tmp_path / "five.tsv"
    kinds = ["bug", "question"]
    file.write_text("kind\ttext\n" + "".join(f"{kinds[n % 2]}\ttext {n}\n" for n in range(60)))
    workspace = Workspace(tmp_path / "workspace")
    fetch.run(fetch.FetchSettings(str(file), str(make_model())), workspace)
    prepare.run(prepare.PrepareSettings(label_column="kind"), workspace)
    finetune.run(finetune.FinetuneSettings(epochs=1, device="cpu"), workspace)
    assert learn.labels_in_use(workspace) == kinds
    Corrections(workspace).change([("text 3", "bug"), ("how?", "question")])
    found = learn.run(SETTINGS, workspace)
    assert found
    assert found.prepared.metadata["corrections"]["added"] == 1
