"""Prints the walk through the stages that the README shows, from a real run on what is bundled.

python -m benchmarks.walkthrough
"""

import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

COMMANDS = (
    "spamgpt fetch --offline",
    "spamgpt prepare",
    "spamgpt finetune --unfreeze last-block --threshold-for f1",
    "spamgpt evaluate",
    "spamgpt predict messages.txt",
    "spamgpt artifacts",
)
MESSAGES = "WINNER! Claim your free prize now, call 09061701461\nsee you at 7 then x\n"


def main() -> None:
    """Prints each command and what it answers."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "messages.txt").write_text(MESSAGES)
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
