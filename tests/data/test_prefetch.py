import threading
import time
from itertools import count

import pytest

from spamgpt.data.prefetch import prefetch


def test_all_items_come_in_order_and_no_batch_is_too_large():
    batches = list(prefetch(range(1000), max_items=7))
    assert [item for batch in batches for item in batch] == list(range(1000))
    assert all(1 <= len(batch) <= 7 for batch in batches)


def test_an_item_of_a_slow_producer_comes_before_the_next_one_is_made():
    asked_for_more = threading.Event()

    def slow():
        yield "first"
        asked_for_more.wait(timeout=30)
        yield "second"

    batches = prefetch(slow(), max_items=10)
    assert next(batches) == ["first"]
    asked_for_more.set()
    assert list(batches) == [["second"]]


def test_an_error_comes_after_the_items_before_it():
    def failing():
        yield from "ab"
        raise ZeroDivisionError

    seen = []
    with pytest.raises(ZeroDivisionError):
        for batch in prefetch(failing(), max_items=10):
            seen += batch
    assert seen == ["a", "b"]


def test_a_producer_is_not_read_far_ahead_of_its_consumer():
    made = []

    def endless():
        for number in count():
            made.append(number)
            yield number

    batches = prefetch(endless(), max_items=5)
    for _ in range(20):
        next(batches)
    batches.close()
    assert len(made) <= 20 * 5 + 2 * 5 + 2


def test_large_items_are_read_ahead_by_their_size():
    made = []

    def large():
        for number in range(100):
            made.append(number)
            yield "x" * 1000

    batches = prefetch(large(), max_items=50, size=len, max_size=3500)
    assert sum(map(len, batches)) == 100
    made.clear()
    batches = prefetch(large(), max_items=50, size=len, max_size=3500)
    next(batches)
    time.sleep(0.05)  # time enough to read on, if it would
    assert len(made) <= 3 + 3 + 1
    batches.close()


def test_an_item_larger_than_the_size_comes_alone():
    batches = list(prefetch(["x" * 10, "y" * 10], max_items=50, size=len, max_size=5))
    assert batches == [["x" * 10], ["y" * 10]]


def test_a_reader_ends_when_its_consumer_does():
    batches = prefetch(count(), max_items=5)
    next(batches)
    batches.close()
    for thread in threading.enumerate():
        if thread.name == "reader":
            thread.join(timeout=30)
            assert not thread.is_alive()
