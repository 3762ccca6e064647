"""Long streams through `predict`: every line is answered, in memory that does not grow."""

import gzip
import os
import re
import select
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from benchmarks.faults.states import WHOLE, States
from benchmarks.faults.tally import HUNG, TRACEBACKS, UNANSWERED, Tally

TITLE = "Streams"
PROMISE = (
    "Of millions of lines each gets an answer, and of a line of 5 GB that takes 12 MB in a "
    "`.jsonl.gz`; memory does not grow with either."
)
# Bytes of the line, which is too long for memory, and of a member of the gzip file.
_LINE, _MEMBER = 5_000_000_000, 50_000_000
# The share of the lines after which memory is looked at, and how much it may have grown since.
MARKS = (0.1, 0.5, 1.0)
_GROWTH = 1.1
_SILENCE = 120.0


def run(tally: Tally, states: States, lines: int, told: Callable[[], None]) -> None:
    """Streams so many lines, and the long one."""
    folder = states.folder / WHOLE
    _many_lines(tally, folder, lines, told)
    _one_long_line(tally, folder)
    told()


def _many_lines(tally: Tally, folder: Path, lines: int, told: Callable[[], None]) -> None:
    row = "lines"
    marks = [max(1, int(lines * mark)) for mark in MARKS]
    peaks: list[float] = []
    began = time.monotonic()
    with TemporaryFile() as err, _predict(folder, "-", "--quiet", stderr=err) as process:
        assert process.stdin
        assert process.stdout
        writer = os.fork()
        if not writer:
            _write(process, lines)
        process.stdin.close()
        answered = 0
        while select.select([process.stdout], [], [], _SILENCE)[0]:
            part = os.read(process.stdout.fileno(), 1 << 20)
            if not part:
                break
            answered += part.count(b"\n")
            if len(peaks) < len(marks) and answered >= marks[len(peaks)]:
                peaks.append(_peak(process.pid))
                rate = answered / (time.monotonic() - began)
                tally.rows.pop(row, None)
                tally.tried(row, answered)
                tally.notes = [_told(marks, peaks, rate)]
                told()
        else:
            tally.wrong(row, HUNG, f"after {answered} answers")
            process.kill()
        status = process.wait()
        os.waitpid(writer, 0)
        err.seek(0)
        said = err.read().decode(errors="replace")
    tally.rows.pop(row, None)
    tally.tried(row, lines)
    if status or answered != lines:
        tally.add(row, {UNANSWERED: lines - answered})
        tally.wrong(row, UNANSWERED, f"{answered} of {lines}; status {status}: {said}")
    if "Traceback" in said:
        tally.wrong(row, TRACEBACKS, said)
    # From the middle on: torch is loaded when many messages have come.
    if len(peaks) == len(marks) and peaks[-1] > _GROWTH * peaks[len(peaks) // 2]:
        tally.wrong(row, HUNG, f"memory grew, which ends every stream some day: {peaks}")


def _one_long_line(tally: Tally, folder: Path) -> None:
    row = "line of 5 GB"
    tally.tried(row)
    path = folder / "long.jsonl.gz"
    with path.open("wb") as file:
        file.write(gzip.compress(b'{"text": "'))
        member = gzip.compress((b"win a free prize " * (_MEMBER // 17 + 1))[:_MEMBER])
        for _ in range(_LINE // _MEMBER):
            file.write(member)
        file.write(gzip.compress(b'"}\n{"text": "see you"}\n'))
    began = time.monotonic()
    with TemporaryFile() as err, _predict(folder, path.name, "--json", stderr=err) as process:
        assert process.stdout
        answers, peak = [], 0.0
        while process.poll() is None:
            peak = max(peak, _peak(process.pid))
            if select.select([process.stdout], [], [], 0.2)[0]:
                answers += os.read(process.stdout.fileno(), 1 << 24).splitlines()
        answers += process.stdout.read().splitlines()
        err.seek(0)
        said = err.read().decode(errors="replace")
    seconds = time.monotonic() - began
    if process.returncode or len(answers) < 2:
        tally.wrong(row, UNANSWERED, f"status {process.returncode}: {said}")
    if "Traceback" in said:
        tally.wrong(row, TRACEBACKS, said)
    tally.notes.append(
        f"The line of 5 GB ({path.stat().st_size / 1e6:.1f} MB in the file) and the one after it "
        f"were answered in {seconds:.0f} s, with at most {peak:,.0f} MiB of memory."
    )
    path.unlink()


def _predict(folder: Path, *arguments: object, stderr: IO[bytes]) -> "subprocess.Popen[bytes]":
    """`spamgpt predict` as a process that imports what it needs itself: its memory is its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "spamgpt", "predict", *map(str, arguments)],
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
    )


def _write(process: "subprocess.Popen[bytes]", lines: int) -> None:
    """What a fork does: writes lines of which no two in reach of each other are equal."""
    assert process.stdin
    try:
        for begin in range(0, lines, 1000):
            end = min(begin + 1000, lines)
            process.stdin.write(b"".join(b"win %d\n" % number for number in range(begin, end)))
        process.stdin.close()
    finally:
        os._exit(0)


def _peak(pid: int) -> float:
    """The most MiB that a process has held so far."""
    try:
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    except OSError:
        found = None
    return int(found[1]) / 1024 if found else 0.0


def _told(marks: list[int], peaks: list[float], rate: float) -> str:
    each = [f"{peak:,.0f} MiB after {mark:,}" for mark, peak in zip(marks, peaks, strict=False)]
    return f"{rate:,.0f} lines a second; the most memory until then: {', '.join(each)} lines."
