"""The standard streams of a command: what happens where one is closed, full or broken."""

import io
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any


@contextmanager
def safe_streams() -> Iterator[None]:
    """Lets no note decide how a command ends, and what a closed stream gets hit no other file.

    Within the block, what cannot be written to standard error is lost. Standard input stays None
    where it is closed, so that a command can tell that there is nothing to read.
    """
    _open_closed_streams()
    before = sys.stderr
    sys.stderr = _best_effort(before)
    try:
        yield
    finally:
        sys.stderr = before


class _BestEffort(io.FileIO):
    """A file that takes everything and loses what cannot be written."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data) or 0
        except OSError:
            return len(memoryview(data).cast("B"))


def _best_effort(stream: Any) -> Any:
    try:
        number = stream.fileno()
        with suppress(OSError):
            stream.flush()
    except (OSError, ValueError, AttributeError):
        return stream  # no file: of a test, or in a notebook
    raw = _BestEffort(number, "w", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw), stream.encoding, "backslashreplace", write_through=True
    )


def _open_closed_streams() -> None:
    for number, mode in ((0, "r"), (1, "w"), (2, "w")):
        try:
            os.fstat(number)
        except OSError:
            # The lowest free number is taken, which is this one.
            stream = open(os.devnull, mode)  # noqa: SIM115, PTH123
            if number == 1:
                sys.stdout = stream
            elif number == 2:
                sys.stderr = stream
            else:
                _UNREAD.append(stream)


# Keeps the place of a closed standard input from being taken by another file.
_UNREAD: list[object] = []


def give_up_stdout() -> None:
    """Lets what still waits to be written vanish, which Python would try once more at exit."""
    with suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)


def print_error_object(message: str, hint: str, status: int) -> None:
    """Prints an error as --json has it, where standard output can be written."""
    try:
        print(json.dumps({"error": message, "hint": hint, "exit_status": status}), flush=True)
    except OSError:
        give_up_stdout()
