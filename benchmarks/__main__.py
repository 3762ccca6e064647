"""python -m benchmarks all, or some of: finetune, predict, serve, start-up, scaling, limit.

accuracy, faults, generalization and learning have options of their own: python -m benchmarks faults
--kills 20.
"""

import argparse
import importlib
import sys
import tempfile
from pathlib import Path

import transformers

from benchmarks import finetune, limit, predict, scaling, serve, start_up
from benchmarks.world import World, machine
from spamgpt.bundled import MESSAGES_FILE

BENCHMARKS = {
    "finetune": finetune,
    "predict": predict,
    "serve": serve,
    "start-up": start_up,
    "scaling": scaling,
    "limit": limit,
}
WITH_OPTIONS = {"accuracy", "faults", "generalization", "learning"}


def main() -> None:
    """Runs the benchmarks that were named and prints their tables."""
    if WITH_OPTIONS & set(sys.argv[1:2]):
        name = sys.argv.pop(1)
        sys.argv[0] = f"python -m benchmarks {name}"
        importlib.import_module(f"benchmarks.{name}").main()
        return
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="+", choices=["all", *BENCHMARKS])
    parser.add_argument("--messages", type=Path, default=MESSAGES_FILE, help="labelled messages")
    parser.add_argument("--tokenizer", type=Path, help="a folder with vocab.json and merges.txt")
    options = parser.parse_args()
    names = list(BENCHMARKS) if "all" in options.names else options.names
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder), options.messages.resolve())
        world.make_model(options.tokenizer)
        print(f"{machine()}; gpt2 (124 M, random weights), messages of {world.messages.name}")
        print("| what | measured |\n|---|---:|")
        for name in names:
            print(f"| **{name}** | |")
            for what, value in BENCHMARKS[name].measure(world):
                print(f"| {what} | {value} |", flush=True)


if __name__ == "__main__":
    main()
