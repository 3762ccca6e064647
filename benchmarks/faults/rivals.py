"""Two commands at once: both are done, or one says why not; also two that resume one run."""

from collections.abc import Callable

from benchmarks.faults.commands import check, start
from benchmarks.faults.states import PLANS, States, found
from benchmarks.faults.tally import LOST, UNANSWERED, Tally

TITLE = "Two at once"
PROMISE = (
    "The same command is given twice at the same time. Each does its work, with a version of its "
    "own, or says in one line that the other is at it; of two that resume the same run one does."
)


def run(tally: Tally, states: States, times: int, told: Callable[[], None]) -> None:
    """Gives every command twice, so many times."""
    for name in [*PLANS] * times:
        tally.tried(name)
        _twice(tally, states, name)
        told()


def _twice(tally: Tally, states: States, name: str) -> None:
    plan = PLANS[name]
    with states.copy(plan.state) as folder:
        running = [start(*plan.command, folder=folder) for _ in range(2)]
        done = [check(tally, name, each.done()) for each in running]
        states.look_at(tally, name, folder, plan)
        for each in done:
            if not each.is_told:
                tally.wrong(name, UNANSWERED, each.err)
        worked = sum(each.status == 0 for each in done)
        if not worked:
            tally.wrong(name, UNANSWERED, "neither did its work")
        # Of equal data sets and corrections there is one.
        twice = plan.makes not in (None, "datasets") and name not in ("run", "learn --train")
        made = sum(
            isinstance(each, tuple) and each[0].startswith(f"{plan.makes}/")
            for each in found(folder) - found(states.folder / plan.state)
        )
        if twice and made < worked:
            tally.wrong(name, LOST, f"{worked} were done and {made} are there")
        # A classifier names the version of its model, of which there may be two now.
        states.go_on(tally, name, folder, name, equal=name != "run")
