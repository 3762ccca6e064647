"""`torchrun` with this program: workers that die, signals, and one voice for all processes."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from spamgpt.stages import finetune
from spamgpt.stages.finetune import FinetuneSettings
from spamgpt.workspace import Workspace

SETTINGS = FinetuneSettings(unfreeze="all", epochs=20, learning_rate=1e-4, device="cpu")
FINETUNE = (
    *("finetune", "--unfreeze", "all", "--epochs", 20, "--learning-rate", 1e-4),
    *("--device", "cpu"),
)


def torchrun(folder: Path, *arguments: object, restarts: int = 0) -> subprocess.Popen:
    """Two processes; what all of them say goes to `out` and `err` in the folder."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    options = ["--nproc-per-node", "2", "--max-restarts", str(restarts), "-m", "spamgpt"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "80"}
    with (folder / "out").open("w") as out, (folder / "err").open("w") as err:
        return subprocess.Popen(
            [*launcher, *options, *map(str, arguments)], stdout=out, stderr=err, env=environment
        )


def wait_for(happened, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 180
    while not happened():
        assert time.monotonic() < deadline, "it takes too long"
        assert process.poll() is None, "it has ended"
        time.sleep(0.01)


def workers_of(process: subprocess.Popen) -> list[int]:
    tasks = Path(f"/proc/{process.pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the workers in /proc")
def test_a_killed_worker_is_started_again_and_what_is_stopped_goes_on_in_one_process(
    trained_workspace, tmp_path
):
    workspace, err = Workspace(trained_workspace), tmp_path / "err"

    def is_going_on() -> bool:
        """Whether more epochs were shown by those started anew than by the first."""
        _, *attempts = err.read_text().split("epoch  training loss")
        shown = [len(re.findall(r"^[0-9]+/20 ", said, re.MULTILINE)) for said in attempts]
        return len(shown) == 2 and shown[1] > shown[0]

    with torchrun(tmp_path, *FINETUNE, "-w", trained_workspace, restarts=1) as process:
        try:
            saved = trained_workspace / "checkpoints"
            wait_for(lambda: list(saved.glob("*/state.pt")), process)
            os.kill(workers_of(process)[-1], signal.SIGKILL)
            wait_for(is_going_on, process)
            process.terminate()
            process.wait(timeout=120)
        finally:
            process.kill()
    said = err.read_text()
    # torchrun may end who is left before it says so.
    lost = said.count("error: Another of the processes that train together has ended.")
    assert lost <= 1, said
    assert said.count("error: ") == 1 + lost, said
    assert said.count("what was learnt is kept.") == said.count("Go on with: spamgpt finetune") == 1
    assert (tmp_path / "out").read_text() == ""
    assert len(list(saved.glob("*/state.pt"))) == 1

    finetune.run(SETTINGS, workspace, resume=True)
    finetune.run(SETTINGS, workspace)
    resumed, whole = (
        pd.read_csv(workspace.newest("classifiers", name).file("history.csv"))
        for name in ("v2", "v3")
    )
    pd.testing.assert_frame_equal(resumed, whole, atol=1e-3, rtol=0)
    assert not saved.exists()


def test_an_error_is_told_once_and_nothing_is_left(trained_workspace, tmp_path):
    before = sorted(trained_workspace.rglob("*"))
    arguments = ("finetune", "--prepared", "v7", "-w", trained_workspace)
    with torchrun(tmp_path, *arguments) as process:
        process.wait(timeout=120)
    assert process.returncode
    said = (tmp_path / "err").read_text()
    assert said.count("error: There is no prepared data 'v7'") == said.count("hint: ") == 1
    assert sorted(trained_workspace.rglob("*")) == before
