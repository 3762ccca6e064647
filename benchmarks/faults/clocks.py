"""A clock that was set back by years: what is made last is the newest all the same."""

import time
from collections.abc import Callable
from datetime import datetime, tzinfo
from unittest.mock import patch

from benchmarks.faults.commands import check, start
from benchmarks.faults.states import PLANS, States, newest
from benchmarks.faults.tally import LOST, UNANSWERED, Tally
from spamgpt.workspace import store

TITLE = "Clocks"
PROMISE = (
    "The clock is set back to 1999 before a command. What the command makes is newer than what "
    "was there, and the next one takes it."
)
_YEAR_1999 = datetime.fromisoformat("1999-01-01T00:00:00+00:00")


class _Clock(datetime):
    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
        return _YEAR_1999.astimezone(tz)


def run(tally: Tally, states: States, times: int, told: Callable[[], None]) -> None:
    """Sets the clock back before every command, so many times."""
    for name in [*PLANS] * times:
        tally.tried(name)
        plan = PLANS[name]
        with states.copy(plan.state) as folder:
            done = check(tally, name, start(*plan.command, folder=folder, before=_set_back).done())
            if done.status:
                tally.wrong(name, UNANSWERED, done.err)
            elif newest(folder, plan) != states.digest(name):
                tally.wrong(name, LOST, "what it made is not the newest")
            states.look_at(tally, name, folder, plan)
            states.go_on(tally, name, folder, name)
        told()


def _set_back() -> None:
    began, here = time.monotonic(), time.monotonic
    time.time = lambda: _YEAR_1999.timestamp() + here() - began
    patch.object(store, "datetime", _Clock).start()
