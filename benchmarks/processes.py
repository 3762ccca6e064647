"""The processes that one has begun, also through others: which there are, and what they hold."""

import os
from collections.abc import Iterator
from pathlib import Path


def descendants(name: bytes = b"", of: int | None = None) -> list[int]:
    """Those whose command line begins with a name; of this process unless another is given."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        process = int(folder.name)
        try:
            begins = (folder / "cmdline").read_bytes().startswith(name)
            if begins and (of or os.getpid()) in _ancestors(process):
                found.append(process)
        except OSError:  # it has ended
            continue
    return sorted(found)


def resident_bytes(process: int) -> int:
    """The memory of a process and its descendants; what several share counts once."""
    total = 0
    for each in (process, *descendants(of=process)):
        try:
            lines = Path(f"/proc/{each}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    return total


def _ancestors(process: int) -> Iterator[int]:
    while process:
        process = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
        yield process
