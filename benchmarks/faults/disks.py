"""Disks that are full, may not be written to, or take no large file: said in one line, no loss."""

import os
import random
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.faults.commands import Done, check, start
from benchmarks.faults.states import PLANS, States
from benchmarks.faults.tally import UNANSWERED, Tally

TITLE = "Disks"
PROMISE = (
    "Commands are given on a disk that is full after a random number of bytes, on one that is "
    "read-only, and where no file may be larger than a random number of bytes. Each does its work "
    "or says in one line why not; nothing that was there is lost; with room again it ends as if "
    "nothing had been."
)
FULL, READ_ONLY, SMALL_FILES = "full disk", "read-only disk", "limit on the size of files"
# The disk, and the most that it has left or that a file may have: commands write up to 300 kB.
_DISK, _MOST = 16 << 20, 400_000
# What a command says goes to files, too.
_LEAST_FILE = 16_384


def run(tally: Tally, states: States, times: int, seed: int, told: Callable[[], None]) -> None:
    """Gives every command on each disk, on the full ones so many times."""
    draw = random.Random(seed)
    for name in [*PLANS] * times:
        _with_small_files(tally, states, name, draw.randrange(_LEAST_FILE, _MOST))
        told()
    try:
        with mounted(states.folder / "disk", _DISK) as disk:
            for name in [*PLANS] * times:
                _on_a_full_disk(tally, states, name, disk, draw.randrange(_MOST))
                told()
            for name in PLANS:
                _on_a_read_only_disk(tally, states, name, disk)
                told()
    except PermissionError as error:
        tally.notes.append(f"{error}, so that no disk was full or read-only.")


@contextmanager
def mounted(folder: Path, size: int) -> Iterator[Path]:
    """A file system of so many bytes that holds nothing else; raises PermissionError."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
        raise PermissionError("There was no right to mount a disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(disk: Path, leave: int) -> Path:
    """Takes all but so many bytes of a disk, by a file that gives them back when it is removed."""
    ballast = disk / "ballast"
    ballast.write_bytes(bytes(max(0, shutil.disk_usage(disk).free - leave)))
    return ballast


def allow_writing(disk: Path, allowed: bool) -> None:
    """Mounts a disk anew."""
    option = f"remount,{'rw' if allowed else 'ro'}"
    subprocess.run(["mount", "-o", option, str(disk)], check=True)


def _on_a_full_disk(tally: Tally, states: States, name: str, disk: Path, leave: int) -> None:
    tally.tried(FULL)
    plan = PLANS[name]
    with states.copy(plan.state, disk) as folder:
        ballast = fill(disk, leave)
        done = start(*plan.command, folder=folder).done()
        _expect_a_word(tally, FULL, name, done)
        states.look_at(tally, FULL, folder, plan)
        ballast.unlink()
        states.go_on(tally, FULL, folder, name)


def _on_a_read_only_disk(tally: Tally, states: States, name: str, disk: Path) -> None:
    tally.tried(READ_ONLY)
    plan = PLANS[name]
    with states.copy(plan.state, disk) as folder:
        allow_writing(disk, False)
        try:
            done = start(*plan.command, folder=folder).done()
            _expect_a_word(tally, READ_ONLY, name, done)
            states.look_at(tally, READ_ONLY, folder, plan)
            done = check(tally, READ_ONLY, start("predict", "texts.txt", folder=folder).done())
            if done.status:
                tally.wrong(READ_ONLY, UNANSWERED, f"predict after {name}: {done.err}")
        finally:
            allow_writing(disk, True)
        states.go_on(tally, READ_ONLY, folder, name)


def _with_small_files(tally: Tally, states: States, name: str, most: int) -> None:
    tally.tried(SMALL_FILES)
    plan = PLANS[name]
    limit = (most, most)

    def lower() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)

    with states.copy(plan.state) as folder:
        done = start(*plan.command, folder=folder, before=lower).done()
        _expect_a_word(tally, SMALL_FILES, name, done)
        states.look_at(tally, SMALL_FILES, folder, plan)
        states.go_on(tally, SMALL_FILES, folder, name)


def _expect_a_word(tally: Tally, row: str, name: str, done: Done) -> None:
    """Counts a command that neither did its work nor said why not."""
    if not check(tally, row, done).is_told:
        tally.wrong(row, UNANSWERED, f"{name} ended with {done.status}: {done.err}")
