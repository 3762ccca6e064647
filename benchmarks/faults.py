"""python -m benchmarks.faults: kills commands at random moments and counts what did not survive.

After every kill the workspace has to be whole, the next command has to answer, and a resumed run
has to end with the digest of one that was never killed.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

SHAPE = ("--n-layer", "2", "--n-head", "2", "--n-embd", "32", "--n-positions", "64")
PRETRAIN = ("pretrain", "texts.txt", *SHAPE, "--vocab-size", "300", "--tokens", "40000")
FINETUNE = ("finetune", "--unfreeze", "all", "--epochs", "5", "--device", "cpu")
# Each with the command that goes on with it, where one does.
COMMANDS: dict[str, tuple[Sequence[str], Sequence[str] | None]] = {
    "fetch": (("fetch", "--dataset", "messages.tsv"), None),
    "prepare": (("prepare",), None),
    "pretrain": (PRETRAIN, (*PRETRAIN, "--resume")),
    "finetune": (FINETUNE, ("finetune", "--resume")),
    "evaluate": (("evaluate", "--json"), None),
    "predict --save": (("predict", "--save", "texts.txt"), None),
    "run": (("run", "--offline", "--epochs", "1", "--device", "cpu"), None),
}
COLUMNS = ("tried", "lost", "tracebacks", "unanswered", "hung")
# Seconds after which a command that should answer counts as hung.
PATIENCE = 300.0


class Harness:
    """One workspace that everything is done to, and what was seen of each command."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._folder = folder
        self._draw = random.Random(seed)
        self.counts: dict[str, Counter[str]] = {name: Counter() for name in COMMANDS}
        self._seconds: dict[str, float] = {}
        self._digests: dict[str, str] = {}
        lines = [f"see you at {n % 12} on bus {n % 7}" for n in range(300)]
        (folder / "texts.txt").write_text("\n".join(lines * 5))
        rows = [f"ham\t{line}, {n}" for n, line in enumerate(lines)]
        rows += [f"spam\tWIN a prize, call {n}" for n in range(150)]
        (folder / "messages.tsv").write_text("\n".join(rows))

    def prepare(self) -> None:
        """Runs every command to its end once: how long it takes, and what it makes."""
        self._must("fetch", "--offline")
        for name, (command, _) in COMMANDS.items():
            began = time.monotonic()
            self._must(*command)
            self._seconds[name] = time.monotonic() - began
            if name in ("finetune", "pretrain"):
                self._digests[name] = self._newest(name)["digest"]

    def kill(self) -> None:
        """Kills one command at one moment, and looks at what is left."""
        name = self._draw.choice(list(COMMANDS))
        command, go_on = COMMANDS[name]
        counts = self.counts[name]
        counts["tried"] += 1
        process = self._start(*command)
        try:
            process.communicate(timeout=self._draw.uniform(0, self._seconds[name]))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
        counts["lost"] += self._ask(counts, "artifacts", "--verify") != 0
        counts["unanswered"] += self._ask(counts, "predict", "texts.txt") != 0
        if go_on and list((self._folder / "workspace" / "checkpoints").glob(f"{name}-*/state.pt")):
            resumed = self._ask(counts, *go_on) == 0
            same = resumed and self._newest(name)["digest"] == self._digests[name]
            counts["lost"] += not same

    def _start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "spamgpt", *arguments],
            cwd=self._folder,
            env=os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def _ask(self, counts: Counter[str], *arguments: str) -> int:
        """The exit status of a command that nobody kills."""
        process = self._start(*arguments)
        try:
            _, told = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            counts["hung"] += 1
            return -1
        counts["tracebacks"] += "Traceback" in told
        return process.returncode

    def _must(self, *arguments: str) -> str:
        process = self._start(*arguments)
        out, told = process.communicate()
        if process.returncode:
            raise SystemExit(f"spamgpt {' '.join(arguments)}: {told}")
        return out

    def _newest(self, stage: str) -> dict[str, str]:
        """The manifest of the last artifact that a stage made."""
        listed = json.loads(self._must("artifacts", "--json"))["artifacts"]
        made = [artifact for artifact in listed if artifact["stage"] == stage]
        newest: dict[str, str] = max(made, key=lambda artifact: artifact["sequence"])
        return newest


def main() -> None:
    """Kills as often as was asked and prints a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults", description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        harness = Harness(Path(folder), options.seed)
        harness.prepare()
        for _ in range(options.kills):
            harness.kill()
    print(f"| killed while it ran | {' | '.join(COLUMNS)} |\n|---|{'---:|' * len(COLUMNS)}")
    total: Counter[str] = Counter()
    for name, counts in harness.counts.items():
        total += counts
        print(f"| {name} | {' | '.join(str(counts[column]) for column in COLUMNS)} |")
    print(f"| all | {' | '.join(str(total[column]) for column in COLUMNS)} |")
    if any(total[column] for column in COLUMNS[1:]):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
