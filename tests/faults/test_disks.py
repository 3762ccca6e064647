"""Disks that are full or may not be written to: one line of error, and nothing is lost."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from spamgpt.workspace import Workspace

from .conftest import run


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB that holds nothing else."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("there is no right to mount a disk here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(disk: Path, leave: int) -> Path:
    """Takes all but so many bytes of a disk."""
    ballast = disk / "ballast"
    ballast.write_bytes(bytes(shutil.disk_usage(disk).free - leave))
    return ballast


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
    for command in ("prepare", "evaluate"):
        done = run(command, "-w", workspace, "--json")
        assert done.returncode == json.loads(done.stdout)["exit_status"] == 1
        assert done.stderr.startswith("error: The disk is full")
        assert "Traceback" not in done.stderr
    assert run("artifacts", "--verify", "-w", workspace).returncode == 0
    ballast.unlink()
    assert run("prepare", "-w", workspace).returncode == 0


def test_a_workspace_that_may_not_be_written_to_is_told(small_disk, trained_workspace):
    workspace = shutil.copytree(trained_workspace, small_disk / "workspace")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    done = run("prepare", "-w", workspace)
    assert done.returncode == 3
    assert done.stderr.startswith("error: Read-only file system: ")
    assert run("artifacts", "--verify", "-w", workspace).returncode == 0
    assert run("predict", "-w", workspace, workspace / "prepared/v1/test.csv").returncode == 0
