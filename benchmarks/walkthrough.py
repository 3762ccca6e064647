"""Prints the walk through the five stages that the README shows, from a real run.

    python benchmarks/walkthrough.py SMSSpamCollection TOKENIZER_FOLDER

The model is a small GPT-2 started at random, so that nothing has to be downloaded: TOKENIZER_FOLDER
holds GPT-2's vocab.json and merges.txt.
"""

import argparse
import json
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

SHAPE = {"model_type": "gpt2", "n_layer": 4, "n_head": 4, "n_embd": 128}
COMMANDS = (
    "spamgpt fetch --dataset SMSSpamCollection --model small --weights random",
    "spamgpt prepare",
    "spamgpt finetune --unfreeze all --epochs 3 --learning-rate 5e-4",
    "spamgpt evaluate",
    "spamgpt predict messages.txt",
    "spamgpt artifacts",
)
MESSAGES = "WINNER! Claim your free prize now, call 09061701461\nsee you at 7 then x\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("collection", type=Path)
    parser.add_argument("tokenizer", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "messages.txt").write_text(MESSAGES)
        (folder / "SMSSpamCollection").symlink_to(arguments.collection.resolve())
        (folder / "small").mkdir()
        (folder / "small" / "config.json").write_text(json.dumps(SHAPE))
        for file in ("vocab.json", "merges.txt"):
            shutil.copy(arguments.tokenizer / file, folder / "small")
        for command in COMMANDS:
            print(f"$ {command}", flush=True)
            program, *options = shlex.split(command)
            executable = Path(sys.executable).with_name(program)
            done = subprocess.run(
                [executable, *options],
                cwd=folder,
                check=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            print(done.stdout)


if __name__ == "__main__":
    main()
