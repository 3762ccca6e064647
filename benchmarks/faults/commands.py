"""Commands of spamgpt, each in a fork of this process, which has imported what they need.

So a command costs no start, and one that is killed is killed at its work. The process must have no
threads when it forks.
"""

import importlib
import os
import pkgutil
import select
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, NoReturn

from benchmarks.faults.tally import HUNG, TRACEBACKS, Tally

# Seconds after which a command that should end counts as hung.
PATIENCE = 120.0
# What commands import where they need it.
_LIBRARIES = (
    "fastapi", "matplotlib.pyplot", "pandas", "pooch", "prometheus_client", "rich.progress",
    "scipy.optimize", "sklearn.linear_model", "sklearn.metrics", "sklearn.model_selection",
    "tokenizers", "tiktoken", "uvicorn",
)  # fmt: skip


@dataclass(frozen=True)
class Done:
    """How a command ended, `status` None where it did not in time, and what it said."""

    status: int | None
    out: str
    err: str

    @property
    def is_told(self) -> bool:
        """Whether it did what it should, or said in a line of error why not."""
        errors = [line for line in self.err.splitlines() if line.startswith("error: ")]
        return self.status == 0 or len(errors) == 1


class Running:
    """A command that was started."""

    def __init__(self, pid: int, out: IO[bytes], err: IO[bytes]) -> None:
        self._pid, self._out, self._err = pid, out, err
        self._status: int | None = None

    def wait(self, seconds: float = PATIENCE) -> int | None:
        """Its exit status, None if it has not ended within so many seconds."""
        descriptor = os.pidfd_open(self._pid)
        try:
            ended, _, _ = select.select([descriptor], [], [], seconds)
        finally:
            os.close(descriptor)
        if ended:
            self._status = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        return self._status

    def kill(self) -> None:
        """Ends it, and all that it started, without a warning."""
        with suppress(ProcessLookupError):
            os.killpg(self._pid, signal.SIGKILL)
        self.wait()

    def said(self) -> str:
        """What stands on its standard error by now."""
        return _text(self._err)

    def done(self, seconds: float = PATIENCE) -> Done:
        """Waits for its end; kills it where that does not come in time."""
        status = self.wait(seconds)
        if status is None:
            self.kill()
        done = Done(status, _text(self._out), _text(self._err))
        self._out.close()
        self._err.close()
        return done


def import_all() -> None:
    """Imports what a command may need, so that forks find it done."""
    import torch

    import spamgpt

    for module in pkgutil.walk_packages(spamgpt.__path__, "spamgpt."):
        importlib.import_module(module.name)
    for library in _LIBRARIES:
        importlib.import_module(library)
    torch.set_num_threads(1)


def start(
    *arguments: object,
    folder: Path,
    stdin: Path = Path(os.devnull),
    stdout: Path | None = None,
    stderr: Path | None = None,
    before: Callable[[], None] | None = None,
) -> Running:
    """Starts `spamgpt` in a folder; `before` is called in its process first.

    Standard output and standard error go to files that are read when it is done, or to these.
    """
    out = stdout.open("r+b", buffering=0) if stdout else TemporaryFile()  # noqa: SIM115
    err = stderr.open("r+b", buffering=0) if stderr else TemporaryFile()  # noqa: SIM115
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if not pid:
        _run([str(each) for each in arguments], folder, stdin, out, err, before)
    return Running(pid, out, err)


def _run(
    arguments: list[str],
    folder: Path,
    stdin: Path,
    out: IO[bytes],
    err: IO[bytes],
    before: Callable[[], None] | None,
) -> NoReturn:
    """What the fork does: it becomes `python -m spamgpt`."""
    status = 1
    try:
        import spamgpt.__main__

        os.setsid()
        os.chdir(folder)
        os.dup2(os.open(stdin, os.O_RDONLY), 0)
        os.dup2(out.fileno(), 1)
        os.dup2(err.fileno(), 2)
        sys.stdin, sys.stdout = open(0, closefd=False), open(1, "w", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", closefd=False, errors="backslashreplace")  # noqa: SIM115
        sys.argv = ["spamgpt", *arguments]
        # What a process started by this one imports as its main module.
        sys.modules["__main__"] = spamgpt.__main__
        if before:
            before()
        spamgpt.__main__.main()
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        with suppress(OSError):
            traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(status)


def check(tally: Tally, row: str, done: Done) -> Done:
    """Counts a command that hung or showed a traceback, or an error that nobody foresaw."""
    if done.status is None:
        tally.wrong(row, HUNG, done.err)
    if "Traceback" in done.err or "error: Unexpected" in done.err:
        tally.wrong(row, TRACEBACKS, done.err)
    return done


def _text(file: IO[bytes]) -> str:
    """What was written into a file; nothing of what is no such file."""
    with suppress(OSError):
        return os.pread(file.fileno(), 1 << 24, 0).decode("utf-8", "replace").lstrip("\0")
    return ""
