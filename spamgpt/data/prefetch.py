"""Batches out of a stream whose speed is not known."""

import math
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")


def prefetch(
    items: Iterable[Item],
    max_items: int,
    size: Callable[[Item], int] = lambda item: 0,
    max_size: float = math.inf,
) -> Iterator[list[Item]]:
    """Yields, whenever asked, the items that have come since (at least one, at most `max_items`).

    A thread reads ahead, by at most `2 * max_items` items that together have the size `max_size`,
    or by one that is larger. An error of `items` is raised after all items that came before it were
    yielded.
    """
    changed = threading.Condition()
    come: deque[Item] = deque()
    held = 0  # the size of all that have come
    ended = stopped = False
    failure: Exception | None = None

    def read() -> None:
        nonlocal held, ended, failure
        try:
            for item in items:
                more = size(item)
                with changed:
                    while come and (len(come) >= 2 * max_items or held + more > max_size):
                        if stopped:
                            return
                        changed.wait()
                    if stopped:
                        return
                    come.append(item)
                    held += more
                    changed.notify()
        except Exception as error:
            failure = error
        with changed:
            ended = True
            changed.notify()

    threading.Thread(target=read, name="reader", daemon=True).start()
    try:
        while True:
            with changed:
                while not come and not ended:
                    changed.wait()
                batch = [come.popleft() for _ in range(min(max_items, len(come)))]
                held -= sum(map(size, batch))
                changed.notify()
            if not batch:
                break
            yield batch
        if failure:
            raise failure
    finally:
        with changed:
            stopped = True
            come.clear()  # a reader that waits for room sees that nobody reads on
            changed.notify()
