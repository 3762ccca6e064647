"""/dev/full as standard input, output and error: no command fails for a note it cannot show."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks.faults.commands import check, start
from benchmarks.faults.states import PLANS, States, newest
from benchmarks.faults.tally import LOST, UNANSWERED, Tally

TITLE = "Streams that take nothing"
PROMISE = (
    "Each of the three standard streams is `/dev/full`. A full standard output is told in one "
    "line; a full standard error and a useless standard input change nothing."
)
_FULL = Path("/dev/full")
# How a command starts with each stream full.
STARTS = {
    "stdin": partial(start, stdin=_FULL),
    "stdout": partial(start, stdout=_FULL),
    "stderr": partial(start, stderr=_FULL),
}


def run(tally: Tally, states: States, times: int, told: Callable[[], None]) -> None:
    """Gives every command with each stream full, so many times."""
    for stream, start_full in [*STARTS.items()] * times:
        row = f"/dev/full as {stream}"
        for name, plan in PLANS.items():
            tally.tried(row)
            with states.copy(plan.state) as folder:
                done = check(tally, row, start_full(*plan.command, folder=folder).done())
                if not done.is_told or (done.status and stream != "stdout"):
                    tally.wrong(row, UNANSWERED, f"{name} ended with {done.status}: {done.err}")
                elif not done.status and newest(folder, plan) != states.digest(name):
                    tally.wrong(row, LOST, f"what {name} made")
                states.look_at(tally, row, folder, plan)
                states.go_on(tally, row, folder, name)
            told()
