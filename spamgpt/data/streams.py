"""Batches out of a stream whose speed is not known."""

import threading
from collections.abc import Iterable, Iterator
from queue import Empty, Queue
from typing import TypeVar

Item = TypeVar("Item")

_END = object()


def as_they_come(items: Iterable[Item], most: int) -> Iterator[list[Item]]:
    """Yields, whenever asked, the items that have come since (at least one, at most `most`).

    A thread reads ahead, by at most `2 * most` items. An error of `items` is raised after all items
    that came before it were yielded.
    """
    queue: Queue[object] = Queue(maxsize=2 * most)
    stopped = threading.Event()

    def read() -> None:
        try:
            for item in items:
                queue.put(item)
                if stopped.is_set():
                    return
            queue.put(_END)
        except Exception as error:
            queue.put(_Failure(error))

    threading.Thread(target=read, name="reader", daemon=True).start()
    try:
        end: object = None
        while end is None:
            batch: list[Item] = []
            item = queue.get()
            while True:
                if item is _END or isinstance(item, _Failure):
                    end = item
                    break
                batch.append(item)  # type: ignore[arg-type]
                if len(batch) == most:
                    break
                try:
                    item = queue.get_nowait()
                except Empty:
                    break
            if batch:
                yield batch
        if isinstance(end, _Failure):
            raise end.error
    finally:
        stopped.set()
        while not queue.empty():  # a reader that waits for room sees that nobody reads on
            queue.get_nowait()


class _Failure:
    def __init__(self, error: Exception) -> None:
        self.error = error
