"""Inputs that atheris makes up, guided by what of the readers each of them reaches."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from select import select

from benchmarks.faults.fuzzed import SLOWEST
from benchmarks.faults.states import WHOLE, States
from benchmarks.faults.tally import HUNG, TRIED, WRONG, Tally

TITLE = "Fuzzed mails and rows"
PROMISE = (
    "Every input gets an answer, or one line of error for each record that has none; time and "
    "memory are bounded. The inputs come from atheris, a fuzzer that looks for new ways through "
    "the readers; what they read is classified."
)


def run(tally: Tally, states: States, inputs: int, seed: int, told: Callable[[], None]) -> None:
    """Gives so many inputs."""
    command = [sys.executable, "-m", "benchmarks.faults.fuzzed", str(inputs), str(seed)]
    workspace = states.folder / WHOLE / "workspace"
    corpus = states.folder / "fuzzed"
    corpus.mkdir()
    with subprocess.Popen(
        [*command, str(workspace), str(corpus)],
        stdout=subprocess.PIPE,
        stderr=(corpus / "log").open("wb"),
    ) as process:
        assert process.stdout
        done = 0
        while True:
            # Fewer inputs than are told of at once may take long, but not all of them.
            if not select([process.stdout], [], [], SLOWEST * 12)[0]:
                process.kill()
                break
            line = process.stdout.readline()
            if not line:
                break
            counted = json.loads(line)
            tally.rows = {row: Counter(counts) for row, counts in counted["rows"].items()}
            tally.notes = counted["notes"]
            done = tally.total[TRIED]
            told()
    log = (corpus / "log").read_text(errors="replace")
    # What went wrong was told there, between what atheris tells.
    wrong = tuple(f"{row}: {column}: " for row in tally.rows for column in WRONG)
    print(*(line for line in log.splitlines() if line.startswith(wrong)), sep="\n", file=sys.stderr)
    if done < inputs:
        tally.wrong("all", HUNG, f"after {done} inputs: {log[-2000:]}")
