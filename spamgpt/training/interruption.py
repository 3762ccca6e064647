"""Turns Ctrl-C into a flag, so that training can end between two steps with nothing lost."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def stop_on_interrupt(say: Callable[[str], None]) -> Iterator[Callable[[], bool]]:
    """Within the block the first SIGINT or SIGTERM only makes the yielded function return True.

    A second one acts at once. Outside the main thread, where Python handles no signals, nothing is
    changed.
    """
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return
    previous = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)

    def ask(number: int, frame: FrameType | None) -> None:
        asked.set()
        restore()
        say("Stopping after this step; once more to stop at once.")

    for number in previous:
        signal.signal(number, ask)
    try:
        yield asked.is_set
    finally:
        restore()
