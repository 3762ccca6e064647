"""python -m benchmarks all, or some of: finetune, predict, serve, start-up, scaling, limit.

accuracy, faults, generalization and learning have options of their own: python -m benchmarks faults
--kills 20.
"""

import argparse
import importlib
import sys
import tempfile
from functools import partial
from pathlib import Path

import transformers

from benchmarks import finetune, limit, predict, scaling, serve, soak, start_up
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
    parser.add_argument(
        "--requests", type=int, help="serve: send so many requests and watch its memory instead"
    )
    parser.add_argument("--minutes", type=float, default=10, help="over so many minutes")
    options = parser.parse_args()
    names = list(BENCHMARKS) if "all" in options.names else options.names
    measures = {name: BENCHMARKS[name].measure for name in names}
    if options.requests:
        if names != ["serve"]:
            parser.error("--requests is for serve alone")
        measures["serve"] = partial(
            soak.measure, requests=options.requests, minutes=options.minutes
        )
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder), options.messages.resolve())
        world.make_model(options.tokenizer)
        print(f"{machine()}; gpt2 (124 M, random weights), messages of {world.messages.name}")
        print("| what | measured |\n|---|---:|")
        for name, measure in measures.items():
            print(f"| **{name}** | |")
            for what, value in measure(world):
                print(f"| {what} | {value} |", flush=True)


if __name__ == "__main__":
    main()
