"""How it scales: one process and two, each on a core of its own.

Fine-tuning all of mini by torchrun, in batches as mini recommends them and in large ones: what
processes send each other is the same, whatever the batch. `python -m benchmarks scale --epochs 9`
measures longer.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.world import command, machine, spamgpt
from spamgpt.data.tables import read_table
from spamgpt.workspace import Workspace

# How many times as fast as one process two have to be, in the largest batches.
LEAST_TRAINING = 1.7
BATCH_SIZES = (16, 256)
PROCESSES = (1, 2)
# What torchrun starts: spamgpt on a core of its own.
PINNED = """
import os
cores = sorted(os.sched_getaffinity(0))
os.sched_setaffinity(0, {cores[int(os.environ["LOCAL_RANK"])]})
from spamgpt.__main__ import main
main()
"""
Row = tuple[str, float, float]


def training(folder: Path, epochs: int) -> Iterator[Row]:
    """Yields for one process and for two: what, messages a second, and how many times one's.

    Timed are the steps, without the start and without the measurement after each epoch.
    """
    spamgpt("fetch", "--offline", folder=folder)
    spamgpt("prepare", "--balance", folder=folder)
    split = Workspace(folder / "workspace").newest("prepared").file("train.csv")
    messages = epochs * len(read_table(split))
    for batch_size in BATCH_SIZES:
        rates: list[float] = []
        for processes in PROCESSES:
            rates.append(messages / _seconds(folder, processes, epochs, batch_size))
            what = f"finetune --unfreeze all --batch-size {batch_size}, {processes}"
            yield what, rates[-1], rates[-1] / rates[0]


def _seconds(folder: Path, processes: int, epochs: int, batch_size: int) -> float:
    """The seconds that the steps of a training take."""
    program = folder / "pinned.py"
    program.write_text(PINNED)
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", processes)
    options = ("--unfreeze", "all", "--no-ngrams", "--device", "cpu", "--quiet")
    sizes = ("--epochs", epochs, "--batch-size", batch_size)
    command(sys.executable, *launcher, program, "finetune", *options, *sizes, folder=folder)
    newest = Workspace(folder / "workspace").newest("classifiers")
    return float(newest.metadata["training_seconds"])


def main() -> None:
    """Prints the table; the status is 1 where two processes are not fast enough."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks scale", description=__doc__)
    parser.add_argument("--epochs", type=int, default=3, help="how long to train")
    options = parser.parse_args()
    if len(os.sched_getaffinity(0)) < max(PROCESSES):
        raise SystemExit(f"This needs {max(PROCESSES)} cores.")
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        print(f"{machine()}\n| processes | messages/s | times |\n|---|---:|---:|")
        times = 1.0
        for what, rate, times in training(Path(folder), options.epochs):
            print(f"| {what} | {rate:,.1f} | {times:.2f} |", flush=True)
    print(f"\nIn all {time.perf_counter() - started:.0f} s; two are to be {LEAST_TRAINING} times.")
    raise SystemExit(times < LEAST_TRAINING)
