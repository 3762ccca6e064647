"""Paths whose bytes are not UTF-8, as names of files may be on Linux."""

import json
import os
from pathlib import Path

import pytest


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """A folder named caf\\xe9, in Latin-1."""
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    try:
        path.mkdir()
    except OSError:
        pytest.skip("the file system takes no such name")
    return path


def test_every_stage_works_in_a_workspace_of_any_name(
    spamgpt, odd, make_model, messages_file, trained_workspace
):
    workspace, model = odd / "workspace", make_model()
    data, moved = odd / "messages.txt", odd / "model"
    messages_file.rename(data)
    model.rename(moved)

    def run(*arguments: object) -> str:
        done = spamgpt(*arguments, "-w", workspace, "--json")
        assert done.status == 0, done.err
        return json.loads(done.out)

    fetched = run("fetch", "--dataset", data, "--model", moved)
    assert fetched["model"]["origin"] == str(moved)
    run("prepare")
    classifier = ("--epochs", 1, "--device", "cpu", "--unfreeze", "head")
    run("finetune", *classifier)
    assert run("evaluate")["messages"] == 24
    answers = spamgpt("predict", "-w", workspace, data)
    assert (answers.status, answers.out.count("\n")) == (0, 120), answers.err
    run("export", "v1", "--to", "bundle", odd / "filter.spamgpt")
    answers = spamgpt("predict", "--classifier", odd / "filter.spamgpt", data)
    assert (answers.status, answers.out.count("\n")) == (0, 120), answers.err
    budget = ("--tokens", 3000, "--n-layer", 1, "--n-head", 1, "--n-embd", 16, "--vocab-size", 300)
    run("pretrain", data, *budget, "--name", "own")
    (workspace / "classifiers" / "v1" / "config.json").write_text("{}")
    listed = spamgpt("artifacts", "--verify", "-w", workspace, "--json")
    (damage,) = json.loads(listed.out)["damaged"]
    assert damage.startswith(str(workspace / "classifiers" / "v1" / "config.json"))
