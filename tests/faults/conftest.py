"""Commands as users run them, in processes of their own that may be killed."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Start = Callable[..., subprocess.Popen]


def start(*arguments: object, **options: object) -> subprocess.Popen:
    """Starts `spamgpt` with these arguments, deaf and mute unless told otherwise."""
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    environment = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "80"}
    command = [sys.executable, "-m", "spamgpt", *map(str, arguments)]
    return subprocess.Popen(command, **(streams | {"env": environment} | options))


def run(*arguments: object, **options: object) -> subprocess.CompletedProcess:
    """Runs `spamgpt` to its end; what it printed is text."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with start(*arguments, **(pipes | options)) as process:
        out, err = process.communicate(timeout=300)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    """Two thousand short documents to pre-train on."""
    path = tmp_path / "texts.txt"
    path.write_text("".join(f"see you at {n % 12} on bus {n % 7}\n" for n in range(2000)))
    return path
