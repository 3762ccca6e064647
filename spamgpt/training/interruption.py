"""Turns Ctrl-C into a flag, so that training can end between two steps with nothing lost."""

import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

_AT_ONCE_THE_SECOND_TIME = (signal.SIGINT, signal.SIGTERM)
# A terminal that closes may send it twice, through its shell as well. Windows has none.
_HANG_UP = [signal.SIGHUP] if hasattr(signal, "SIGHUP") else []


@contextmanager
def stop_on_interrupt(say: Callable[[str], None]) -> Iterator[Callable[[], bool]]:
    """Within the block SIGINT, SIGTERM or SIGHUP only makes the yielded function return True.

    A second SIGINT or SIGTERM acts at once. A signal that is ignored, as SIGHUP is under nohup,
    stays ignored.
    Outside the main thread, where Python handles no signals, nothing is changed.
    """
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return
    previous = {
        number: signal.getsignal(number) for number in (*_AT_ONCE_THE_SECOND_TIME, *_HANG_UP)
    }

    notes: list[threading.Thread] = []

    def tell() -> None:
        with suppress(OSError):  # the terminal may be gone
            say("Stopping after this step; once more to stop at once.")

    def restore(numbers: Iterable[signal.Signals]) -> None:
        for number in numbers:
            signal.signal(number, previous[number])

    def ask(number: int, frame: FrameType | None) -> None:
        asked.set()
        if number in _AT_ONCE_THE_SECOND_TIME:
            restore(_AT_ONCE_THE_SECOND_TIME)
        # In a thread, since the signal may have come while another line was being written.
        notes.append(threading.Thread(target=tell))
        notes[-1].start()

    for number in previous:
        if previous[number] != signal.SIG_IGN:
            signal.signal(number, ask)
    try:
        yield asked.is_set
    finally:
        restore(previous)
        for note in notes:
            note.join(timeout=1)
