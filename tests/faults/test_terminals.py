"""A terminal that is closed while a command trains on it."""

import os
import pty
import re
from pathlib import Path

from .conftest import run, start

TINY = ("--n-layer", 1, "--n-head", 1, "--n-embd", 16, "--n-positions", 32, "--vocab-size", 300)


def hang_up_while_training(workspace: Path, *arguments: object) -> int:
    """Closes the terminal of a command as soon as it trains; the command's exit status."""
    ours, theirs = pty.openpty()
    terminal = {"stdin": theirs, "stdout": theirs, "stderr": theirs, "start_new_session": True}

    def take() -> None:
        os.close(os.open(os.ttyname(0), os.O_RDWR))  # now it is the controlling terminal

    with start(*arguments, "-w", workspace, preexec_fn=take, **terminal) as process:
        os.close(theirs)
        shown = b""
        try:
            while not re.search(rb"loss \d|1/150", shown):
                shown += os.read(ours, 1 << 16)
            os.close(ours)
            return process.wait(timeout=60)
        finally:
            process.kill()


def test_finetune_goes_on_from_where_its_terminal_was_closed(trained_workspace):
    settings = ("finetune", "--epochs", 150, "--unfreeze", "head", "--device", "cpu")
    assert hang_up_while_training(trained_workspace, *settings) == 130
    done = run("finetune", "--resume", "-w", trained_workspace, "--json")
    assert done.returncode == 0, done.stderr
    assert "classifiers/v2" in done.stdout


def test_pretrain_keeps_a_run_of_seconds(tmp_path, texts):
    settings = ("pretrain", texts, "--tokens", 2_000_000, "--batch-tokens", 64, *TINY)
    hang_up_while_training(tmp_path / "workspace", *settings)
    assert list((tmp_path / "workspace" / "checkpoints").glob("pretrain-*/state.pt"))
