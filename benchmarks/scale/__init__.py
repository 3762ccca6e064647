"""How it scales: one process and two, each on a core of its own.

python -m benchmarks scale                       training and scoring
python -m benchmarks scale training --epochs 9   longer
python -m benchmarks scale long --rows 5000000   a long job on Ray, with a worker killed on the way
python -m benchmarks scale capacity --help       jobs of any size, simulated
"""

import argparse
import os
import sys
import tempfile
from functools import partial
from pathlib import Path

from benchmarks.scale import capacity, long, scoring, training
from benchmarks.world import machine

_CORES = 2


def main() -> None:
    """Prints the table; the status is 1 where a figure is not as good as it has to be."""
    if sys.argv[1:2] == ["capacity"]:
        capacity.main(sys.argv[2:])
        return
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks scale",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("part", nargs="?", choices=["training", "scoring", "long"])
    parser.add_argument("--epochs", type=int, default=training.EPOCHS, help="of training")
    parser.add_argument("--messages", type=int, default=scoring.MESSAGES, help="for scoring")
    parser.add_argument("--rows", type=int, default=long.ROWS, help="of the long job")
    options = parser.parse_args()
    if len(os.sched_getaffinity(0)) < _CORES:
        raise SystemExit(f"This needs {_CORES} cores.")
    measures = {
        "training": partial(training.measure, epochs=options.epochs),
        "scoring": partial(scoring.measure, messages=options.messages),
        "long": partial(long.measure, rows=options.rows),
    }
    print(f"{machine()}\n| what | measured |\n|---|---:|")
    met = True
    for part in [options.part] if options.part else ("training", "scoring"):
        with tempfile.TemporaryDirectory() as folder:
            for figure in measures[part](Path(folder)):
                print(f"| {figure.what} | {figure.value} |", flush=True)
                met &= figure.met
    raise SystemExit(not met)
