"""Fine-tuning all of mini by torchrun, in batches as mini recommends them and in large ones.

What processes send each other in a step is the same, whatever the batch.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.scale.figures import Figure
from benchmarks.world import command, spamgpt
from spamgpt.data.tables import read_table
from spamgpt.workspace import Workspace

EPOCHS = 3
_BATCH_SIZES = (16, 256)
# How many times as fast as one process two have to be, in the largest batches.
_LEAST = 1.7
# What torchrun starts: spamgpt on a core of its own.
_PINNED = """
import os
cores = sorted(os.sched_getaffinity(0))
os.sched_setaffinity(0, {cores[int(os.environ["LOCAL_RANK"])]})
from spamgpt.__main__ import main
main()
"""


def measure(folder: Path, epochs: int) -> Iterator[Figure]:
    """Yields the speed of one process and of two.

    Timed are the steps, without the start and without the measurement after each epoch.
    """
    spamgpt("fetch", "--offline", folder=folder)
    spamgpt("prepare", "--balance", folder=folder)
    split = Workspace(folder / "workspace").newest("prepared").file("train.csv")
    messages = epochs * len(read_table(split))
    for size in _BATCH_SIZES:
        one, two = (messages / _seconds(folder, processes, epochs, size) for processes in (1, 2))
        for processes, rate in (("1 process", one), ("2 processes", two)):
            what = f"finetune --unfreeze all --batch-size {size}, {processes}"
            yield Figure(what, f"{rate:,.0f} messages/s")
        met = two / one >= _LEAST or size < max(_BATCH_SIZES)
        yield Figure("  2 processes are faster by", f"{two / one:.2f} times", met)


def _seconds(folder: Path, processes: int, epochs: int, batch_size: int) -> float:
    """The seconds that the steps of a training take."""
    program = folder / "pinned.py"
    program.write_text(_PINNED)
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", processes)
    options = ("--unfreeze", "all", "--no-ngrams", "--device", "cpu", "--quiet")
    sizes = ("--epochs", epochs, "--batch-size", batch_size)
    command(sys.executable, *launcher, program, "finetune", *options, *sizes, folder=folder)
    newest = Workspace(folder / "workspace").newest("classifiers")
    return float(newest.metadata["training_seconds"])
