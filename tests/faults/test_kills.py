"""Commands killed at any moment: the workspace stays whole, and what goes on ends the same."""

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from spamgpt.workspace import Workspace

from .conftest import run, start

FINETUNE = ("finetune", "--unfreeze", "all", "--epochs", 30, "--device", "cpu", "--json")
RESUME = ("finetune", "--resume", "--json")
# Seconds from the start of a command to where it trains, at most; kills fall anywhere before.
LATEST = 12.0


def kill(seconds: float, *arguments: object) -> None:
    """Starts a command and kills it, and all that it started, after so many seconds."""
    with start(*arguments, start_new_session=True) as process:
        try:
            process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


def assert_whole(workspace: Path) -> None:
    verified = run("artifacts", "--verify", "-w", workspace)
    assert verified.returncode == 0, verified.stderr
    assert "Traceback" not in verified.stderr


@pytest.mark.parametrize("seed", range(2))
def test_a_workspace_survives_kills_at_random_moments(trained_workspace, seed):
    draw = random.Random(seed)
    for command in (("prepare",), ("evaluate",), FINETUNE):
        kill(draw.uniform(0, LATEST), *command, "-w", trained_workspace)
    assert_whole(trained_workspace)
    done = run("prepare", "-w", trained_workspace, "--json")
    assert done.returncode == 0, done.stderr
    assert not list(trained_workspace.glob("*/.draft-*"))


def test_a_killed_run_goes_on_to_the_digest_of_one_that_was_not(trained_workspace):
    with start(*FINETUNE, "-w", trained_workspace) as process:
        checkpoints = trained_workspace / "checkpoints"
        while not list(checkpoints.glob("*/state.pt")) and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert_whole(trained_workspace)
    resumed = run(*RESUME, "-w", trained_workspace)
    assert resumed.returncode == 0, resumed.stderr
    whole = run(*FINETUNE, "-w", trained_workspace)
    assert whole.returncode == 0, whole.stderr
    found = Workspace(trained_workspace).artifacts("classifiers")
    assert [artifact.reference for artifact in found[1:]] == ["classifiers/v2", "classifiers/v3"]
    assert found[1].digest == found[2].digest
