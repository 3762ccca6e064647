"""python -m benchmarks all, or some of: finetune, predict, mails, serve, start-up, scaling, limit.

accuracy, faults, generalization, learning and scale have options of their own: python -m benchmarks
faults --kills 20.
"""

import argparse
import importlib
import sys
import tempfile
from functools import partial
from pathlib import Path

NAMES = ("finetune", "predict", "mails", "serve", "start-up", "scaling", "limit")
WITH_OPTIONS = {"accuracy", "faults", "generalization", "learning", "scale"}


def main() -> None:
    """Runs the benchmarks that were named and prints their tables."""
    if WITH_OPTIONS & set(sys.argv[1:2]):
        name = sys.argv.pop(1)
        sys.argv[0] = f"python -m benchmarks {name}"
        importlib.import_module(f"benchmarks.{name}").main()
        return
    import transformers

    from benchmarks.world import World, machine
    from spamgpt.bundled import MESSAGES_FILE

    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="+", choices=["all", *NAMES])
    parser.add_argument("--messages", type=Path, default=MESSAGES_FILE, help="labelled messages")
    parser.add_argument("--tokenizer", type=Path, help="a folder with vocab.json and merges.txt")
    parser.add_argument(
        "--requests", type=int, help="serve: send so many requests and watch its memory instead"
    )
    parser.add_argument("--minutes", type=float, default=10, help="over so many minutes")
    options = parser.parse_args()
    names = NAMES if "all" in options.names else options.names
    if options.requests and list(names) != ["serve"]:
        parser.error("--requests is for serve alone")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder), options.messages.resolve())
        world.make_model(options.tokenizer)
        print(f"{machine()}; gpt2 (124 M, random weights), messages of {world.messages.name}")
        print("| what | measured |\n|---|---:|")
        for name in names:
            print(f"| **{name}** | |")
            measure = importlib.import_module(f"benchmarks.{name.replace('-', '_')}").measure
            if options.requests:
                soak = importlib.import_module("benchmarks.soak").measure
                measure = partial(soak, requests=options.requests, minutes=options.minutes)
            for what, value in measure(world):
                print(f"| {what} | {value} |", flush=True)


if __name__ == "__main__":
    main()
