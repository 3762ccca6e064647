"""Disks that are full or may not be written to: one line of error, and nothing is lost."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.faults.disks import allow_writing, fill, mounted
from spamgpt.workspace import Workspace

from .conftest import run


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB that holds nothing else."""
    try:
        with mounted(tmp_path / "disk", 2 << 20) as disk:
            yield disk
    except PermissionError as error:
        pytest.skip(str(error))


def test_a_checkpoint_that_does_not_fit_costs_no_classifier(small_disk, trained_workspace):
    workspace = shutil.copytree(trained_workspace, small_disk / "workspace")
    # A classifier takes 200 kB; a checkpoint has its weights, the best ones, and two averages.
    fill(small_disk, leave=400_000)
    done = run("finetune", "--unfreeze", "all", "--epochs", 2, "--device", "cpu", "-w", workspace)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("could not be written") == 1
    made = Workspace(workspace).newest("classifiers")
    assert (made.reference, made.metadata["epochs"]) == ("classifiers/v2", 2)
    assert not (workspace / "checkpoints").exists()


def test_a_stage_on_a_full_disk_says_so_and_works_when_there_is_room(small_disk, trained_workspace):
    workspace = shutil.copytree(trained_workspace, small_disk / "workspace")
    ballast = fill(small_disk, leave=12_288)
    done = run("evaluate", "-w", workspace, "--json")
    assert done.returncode == json.loads(done.stdout)["exit_status"] == 1
    assert done.stderr.startswith("error: The disk is full")
    assert "Traceback" not in done.stderr
    ballast.unlink()
    assert run("prepare", "-w", workspace).returncode == 0


def test_a_workspace_that_may_not_be_written_to_is_told(small_disk, trained_workspace):
    workspace = shutil.copytree(trained_workspace, small_disk / "workspace")
    allow_writing(small_disk, False)
    done = run("prepare", "-w", workspace)
    assert done.returncode == 3
    assert done.stderr.startswith("error: Read-only file system: ")
    assert run("predict", "-w", workspace, workspace / "prepared/v1/test.csv").returncode == 0
