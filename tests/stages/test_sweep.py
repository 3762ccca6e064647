"""A sweep: shares the data, skips what is done, goes on, and makes one table."""

import os
import signal
from pathlib import Path

import pandas as pd
import pytest

from spamgpt.data.tables import read_table
from spamgpt.errors import BadDataError, Interrupted, MissingInputError, UsageError
from spamgpt.reporting import SILENT
from spamgpt.stages import fetch, finetune
from spamgpt.stages.finetune import FinetuneSettings
from spamgpt.stages.sweep import SweepSettings, plan_sweep, run
from spamgpt.training.trainer import Trainer
from spamgpt.workspace import Workspace

GRID = """
seeds = [1, 2]
epochs = 1
learning_rate = 0.01
precision = "fp32"
[[run]]
name = "head"
unfreeze = "head"
[[run]]
name = "all"
unfreeze = "all"
published = {train = 99, validation = 98, test = 97}
"""


@pytest.fixture
def workspace(trained_workspace: Path) -> Workspace:
    return Workspace(trained_workspace)


@pytest.fixture
def settings(tmp_path) -> SweepSettings:
    (tmp_path / "try.toml").write_text(GRID)
    return SweepSettings(str(tmp_path / "try.toml"), device="cpu")


def classifiers(workspace: Workspace) -> list[str]:
    return [folder.name for folder in workspace.folders("classifiers")]


def test_every_run_is_an_ordinary_classifier_with_its_evaluation(workspace, settings):
    artifact, table = run(settings, workspace)
    assert artifact.reference == "sweeps/try/v1"
    assert sorted(artifact.files) == [
        "chart.png",
        "runs.csv",
        "sweep.toml",
        "table.csv",
        "table.md",
    ]
    runs = pd.read_csv(artifact.file("runs.csv"))
    assert runs["seed"].tolist() == [1, 2, 1, 2]
    assert runs["run"].tolist() == ["head", "head", "all", "all"]
    for _, line in runs.iterrows():
        classifier = workspace.newest("classifiers", line["classifier"])
        assert classifier.settings["seed"] == line["seed"]
        assert classifier.metadata["validation_accuracy"] == line["validation_accuracy"]
        evaluation = workspace.newest("evaluations", line["evaluation"])
        assert evaluation.metadata["accuracy"] == pytest.approx(line["test_accuracy"])
    frame = pd.read_csv(artifact.file("table.csv"))
    assert frame["trained_parameters"].tolist() == [66, 35_970]
    assert frame["published_test"].tolist()[1] == pytest.approx(0.97)
    assert table.differences.keys() == {"all"}


def test_what_is_done_is_found_again(workspace, settings):
    made, _ = run(settings, workspace)
    before = sorted(workspace.root.rglob("*"))
    again, _ = run(settings, workspace)
    assert again.reference == made.reference
    assert sorted(workspace.root.rglob("*")) == before
    grid = Path(settings.grid)
    grid.write_text(grid.read_text().replace("[1, 2]", "[1, 2, 3]"))
    assert [row.done for row in plan_sweep(settings, workspace).rows] == [2, 2]
    more, _ = run(settings, workspace)
    assert more.reference == "sweeps/try/v2"
    assert len(classifiers(workspace)) == 1 + 4 + 2


def test_an_interrupted_sweep_goes_on_where_it_was(workspace, settings, monkeypatch):
    original, steps = Trainer._step, 0

    def step(self, *arguments):
        nonlocal steps
        original(self, *arguments)
        steps += 1
        if steps == 25:  # 11 of an epoch: the third run
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Trainer, "_step", step)
    with pytest.raises(Interrupted) as caught:
        run(settings, workspace)
    assert "spamgpt sweep" in caught.value.hint
    assert len(classifiers(workspace)) == 3
    assert workspace.folders("sweeps") == []
    run(settings, workspace)
    # Not a step was made twice.
    assert steps == 4 * 11
    resumed = workspace.newest("classifiers", "v4")
    whole = finetune.run(FinetuneSettings(**resumed.settings), workspace)
    assert whole.digest == resumed.digest


def test_a_sweep_goes_on_from_its_own_checkpoint_only(workspace, settings, monkeypatch):
    original = Trainer._step

    def stop(self, *arguments):
        original(self, *arguments)
        os.kill(os.getpid(), signal.SIGINT)

    # The run of the sweep, but with adapters.
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_step", stop)
        with pytest.raises(Interrupted):
            finetune.run(
                FinetuneSettings(
                    unfreeze="all", lora_rank=2, epochs=1, learning_rate=0.01, seed=1,
                    precision="fp32", device="cpu",
                ),
                workspace,
            )  # fmt: skip
    run(settings, workspace)
    made = workspace.artifacts("classifiers")
    assert all(each.settings["lora_rank"] is None for each in made)


def test_a_model_that_is_not_there_is_a_row_that_says_so(workspace, settings):
    grid = Path(settings.grid)
    grid.write_text(grid.read_text() + "[[run]]\nname = 'xl'\nmodel = 'gpt2-xl'\n")
    artifact, table = run(settings, workspace)
    assert artifact.metadata["not_run"] == {"xl": "the model gpt2-xl is not in the workspace"}
    assert [len(row.runs) for row in table.rows] == [2, 2, 0]


def test_random_weights_are_drawn_for_the_model(workspace, settings):
    Path(settings.grid).write_text("epochs = 1\nweights = ['pretrained', 'random']\n")
    _, table = run(settings, workspace)
    assert [len(row.runs) for row in table.rows] == [1, 1]
    assert [folder.name for folder in workspace.folders("models")] == ["v1", "v2"]
    # Of the two models the pretrained one is still what others take.
    run(settings, workspace)
    assert len(classifiers(workspace)) == 3


def test_runs_can_go_on_from_a_classifier_and_are_found_again(workspace, settings, make_model):
    Path(settings.grid).write_text(
        "epochs = 1\nstart_from = 'v1'\nlearning_rate = [0.001, 0.002]\n"
    )
    # Its own model is taken, not the newest.
    fetch.run(fetch.FetchSettings("bundled-messages", str(make_model("other"))), workspace)
    _, table = run(settings, workspace)
    assert [len(row.runs) for row in table.rows] == [1, 1]
    inputs = workspace.newest("classifiers").manifest["inputs"]
    assert [each["artifact"] for each in inputs[1:]] == ["models/tiny/v1", "classifiers/v1"]
    assert [row.done for row in plan_sweep(settings, workspace).rows] == [1, 1]


def test_a_run_that_diverges_is_a_row_that_says_so(workspace, settings):
    Path(settings.grid).write_text(
        "unfreeze = 'all'\nepochs = 1\n[[run]]\nname = 'a'\n"
        "[[run]]\nname = 'b'\nlearning_rate = 1000000\nweight_decay = 1000000\n"
    )
    artifact, _ = run(settings, workspace)
    assert "diverged" in artifact.metadata["not_run"]["b"]


def test_the_data_is_prepared_once_as_the_file_says(workspace, settings):
    Path(settings.grid).write_text("epochs = 1\n[prepare]\nbalance = true\n")
    for _ in range(2):
        artifact, _ = run(settings, workspace)
    prepared = workspace.input_of(artifact, "prepared")
    assert (prepared.reference, prepared.settings["balance"]) == ("prepared/v2", True)
    assert len(workspace.folders("prepared")) == 2
    assert len(read_table(prepared.file("train.csv"))) == 56


def test_what_cannot_be_trained_is_told_before_anything_is(workspace, settings):
    grid = Path(settings.grid)
    grid.write_text(GRID + "[[run]]\nname = 'deep'\nunfreeze = 'last-9-blocks'\n")
    with pytest.raises(UsageError, match=r"try\.toml, run 'deep': .* 2 blocks"):
        run(settings, workspace)
    assert classifiers(workspace) == ["v1"]
    grid.write_text("epochs = -1")
    with pytest.raises(UsageError, match=r"try\.toml, .*epochs"):
        plan_sweep(settings, workspace, SILENT)
    grid.write_text("epoch = 1")
    with pytest.raises(BadDataError, match="epoch is no setting"):
        plan_sweep(settings, workspace)
    with pytest.raises(MissingInputError):
        plan_sweep(SweepSettings("none.toml"), workspace)
