import json

import pytest

from spamgpt.workspace import Workspace

OPTIONS = {
    "schedule": "cosine",
    "warmup": 0.25,
    "accumulate": 3,
    "class_weights": "balanced",
    "clip": 1.0,
    "dropout": 0.1,
    "label_smoothing": 0.05,
    "patience": 1,
}


def given(options: dict[str, object]) -> list[object]:
    return [
        part for name, value in options.items() for part in ("--" + name.replace("_", "-"), value)
    ]


def test_every_option_reaches_the_training_and_is_on_record(spamgpt, trained_workspace):
    arguments = ("--epochs", 8, "--learning-rate", 0.3, "--from", "v1", "-w", trained_workspace)
    told = spamgpt("finetune", *given(OPTIONS), *arguments)
    assert told.status == 0, told.err
    for words in (
        "in batches of 8, 3 to a step, at a learning rate of 0.3, with warm-up and cosine decay",
        "; balanced class weights; gradients clipped to 1; dropout 0.1; label smoothing 0.05",
        "Stopped: no better validation loss, --patience 1.",
    ):
        assert words in told.err
    artifact = Workspace(trained_workspace).newest("classifiers")
    assert {name: artifact.settings[name] for name in OPTIONS} == OPTIONS
    trained = artifact.metadata["epochs"]
    assert trained < 8
    assert f"epoch {artifact.metadata['kept_epoch']} of {trained} kept" in told.out
    assert "from            prepared/v1 and models/tiny/v1 and classifiers/v1" in told.out
    card = artifact.file("README.md").read_text()
    for name, value in OPTIONS.items():
        assert f"| {name.replace('_', ' ')} | {value} |" in card


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--dropout", 1], "--dropout is 1.0; it has to be a number from 0 to below 1."),
        (["--label-smoothing", 2], "--label-smoothing is 2.0; it has to be"),
        (["--dropout", 0.1, "--unfreeze", "head"], "--unfreeze head trains none"),
        (["--from", "v9"], "There is no classifier 'v9'"),
        (["--warmup", 2], "'--warmup'"),
        (["--class-weights", "even"], "'--class-weights'"),
        (
            ["--shard"],
            "--shard is for models that are trained as a whole. hint: Add --unfreeze all",
        ),
        (["--shard", "--unfreeze", "all"], "--shard spreads a model over several processes"),
    ],
)
def test_what_cannot_be_is_told_in_one_line(spamgpt, trained_workspace, options, told):
    refused = spamgpt("finetune", *options, "-w", trained_workspace)
    assert refused.status in (2, 3)
    assert told in " ".join(refused.err.split())
    assert not (trained_workspace / "classifiers" / "v2").exists()


def test_run_takes_them_too_and_skips_what_is_made_with_them(
    spamgpt, tmp_path, make_model, messages_file
):
    arguments = ["run", "--dataset", messages_file, "--model", make_model(), "--epochs", 1]
    arguments += [*given(OPTIONS), "--json", "-w", tmp_path / "ws"]
    first, second = (json.loads(spamgpt(*arguments).out) for _ in range(2))
    assert first["finetune"]["skipped"] is None
    assert "same settings" in second["finetune"]["skipped"]
    assert Workspace(tmp_path / "ws").newest("classifiers").settings["accumulate"] == 3
