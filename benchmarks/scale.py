"""How it scales: one process and two, each on a core of its own.

Fine-tuning all of mini by torchrun. `python -m benchmarks scale --epochs 9` measures longer.
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

# How many times as fast as one process two have to be.
LEAST_TRAINING = 1.7
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

    Timed is what each epoch after the first takes, its measurement included: no start-up.
    """
    spamgpt("fetch", "--offline", folder=folder)
    spamgpt("prepare", "--balance", folder=folder)
    split = Workspace(folder / "workspace").newest("prepared").file("train.csv")
    messages = len(read_table(split))
    rates: list[float] = []
    for processes in PROCESSES:
        seconds = _finetune(folder, processes, 1 + epochs) - _finetune(folder, processes, 1)
        rates.append(epochs * messages / seconds)
        yield f"finetune --unfreeze all, {processes}", rates[-1], rates[-1] / rates[0]


def _finetune(folder: Path, processes: int, epochs: int) -> float:
    """The seconds that the whole command takes."""
    program = folder / "pinned.py"
    program.write_text(PINNED)
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", processes)
    options = ("--unfreeze", "all", "--no-ngrams", "--epochs", epochs, "--device", "cpu")
    return command(
        *(sys.executable, *launcher, program, "finetune", *options, "--quiet"), folder=folder
    ).seconds


def main() -> None:
    """Prints the table; the status is 1 where two processes are not fast enough."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks scale", description=__doc__)
    parser.add_argument("--epochs", type=int, default=3, help="how many are timed")
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
