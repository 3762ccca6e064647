import asyncio
import threading
import time
from types import SimpleNamespace

import pytest

from spamgpt.classifier.predictor import Prediction
from spamgpt.serve import batching
from spamgpt.serve.batching import Batcher
from spamgpt.serve.limits import Refused


class Slow:
    """A predictor that notes its batches; while `hold` is clear, it computes."""

    def __init__(self, classifier) -> None:
        self.classifier = classifier
        self.batches: list[list[str]] = []
        self.hold = threading.Event()
        self.go = threading.Event()
        self.go.set()

    def predict(self, texts):
        self.batches.append(list(texts))
        self.go.wait(10)
        if "broken" in texts:
            raise ValueError("broken")
        return [Prediction(text, "ham", {"ham": 1.0}, 1.0, 1) for text in texts]


@pytest.fixture
def slow(serving) -> Slow:
    return Slow(serving.predictor.classifier)


def run(scenario, max_queue=100):
    async def main():
        batcher = Batcher(max_queue)
        try:
            return await asyncio.wait_for(scenario(batcher), 20)
        finally:
            batcher.close()

    return asyncio.run(main())


async def asked(batcher, predictor, *requests):
    """Starts the first request, and the others while it is computed; all their tasks."""
    predictor.go.clear()
    first, *others = requests
    tasks = [asyncio.create_task(batcher.classify(predictor, first))]
    while not predictor.batches:
        await asyncio.sleep(0.001)
    tasks += [asyncio.create_task(batcher.classify(predictor, each)) for each in others]
    await asyncio.sleep(0.01)
    return tasks


def test_what_comes_while_a_batch_is_computed_is_the_next_one(slow):
    async def scenario(batcher):
        tasks = await asked(batcher, slow, ["a"], ["b"], ["c"], ["d"])
        slow.go.set()
        return await asyncio.gather(*tasks)

    answers = run(scenario)
    assert slow.batches == [["a"], ["b", "c", "d"]]
    assert [[found.text for found in each] for each in answers] == [["a"], ["b"], ["c"], ["d"]]


def test_a_large_request_does_not_keep_a_small_one_waiting(slow, monkeypatch):
    monkeypatch.setattr(batching, "MOST_AT_ONCE", 4)

    async def scenario(batcher):
        many = [str(number) for number in range(20)]
        large, small = await asked(batcher, slow, many, ["small"])
        slow.go.set()
        await small
        return await large

    answers = run(scenario)
    assert "small" in slow.batches[1]
    assert len(slow.batches) > 2  # of which the others are behind it
    assert [found.text for found in answers] == [str(number) for number in range(20)]


def test_a_batch_has_as_many_tokens_as_suit_the_device(slow):
    async def scenario(batcher):
        tasks = await asked(batcher, slow, ["a"], *([str(n) + "x" * 6_000] for n in range(4)))
        slow.go.set()
        await asyncio.gather(*tasks)

    run(scenario)
    assert [len(batch) for batch in slow.batches] == [1, 2, 2]  # of 1,501 tokens in 4,096


def test_where_several_batches_are_computed_at_once_as_many_threads_ask():
    predictor = Slow(SimpleNamespace(at_once=2, batch_tokens=4_096))

    async def scenario(batcher):
        tasks = await asked(batcher, predictor, ["a"], ["b"])
        assert predictor.batches == [["a"], ["b"]]
        tasks.append(asyncio.create_task(batcher.classify(predictor, ["c"])))
        await asyncio.sleep(0.01)
        assert len(predictor.batches) == 2
        predictor.go.set()
        return await asyncio.gather(*tasks)

    answers = run(scenario)
    assert [found[0].text for found in answers] == ["a", "b", "c"]


def test_a_request_alone_is_not_kept_waiting(slow, monkeypatch):
    monkeypatch.setattr(batching, "PATIENCE", 5)

    async def scenario(batcher):
        for _ in range(3):
            await batcher.classify(slow, ["a"])

    began = time.monotonic()
    run(scenario)
    assert time.monotonic() - began < 4


def test_where_several_batches_are_computed_at_once_each_has_its_share_of_what_waits():
    predictor = Slow(SimpleNamespace(at_once=2, batch_tokens=4_096))

    async def scenario(batcher):
        tasks = await asked(batcher, predictor, ["a"], ["b"])
        waiting = [batcher.classify(predictor, [str(number)]) for number in range(6)]
        tasks += [asyncio.create_task(each) for each in waiting]
        await asyncio.sleep(0.01)
        assert predictor.batches == [["a"], ["b"]]
        predictor.go.set()
        return await asyncio.gather(*tasks)

    assert len(run(scenario)) == 8
    assert len(predictor.batches[2]) == 4  # of the six that wait and one that may come again


def test_the_clients_that_were_just_answered_are_waited_for(slow, monkeypatch):
    monkeypatch.setattr(batching, "PATIENCE", 0.5)

    async def scenario(batcher):
        tasks = await asked(batcher, slow, ["a"], ["b"], ["c"])
        slow.go.set()
        await asyncio.gather(*tasks)
        first = asyncio.create_task(batcher.classify(slow, ["d"]))
        await asyncio.sleep(0.1)  # the thread is free, and waits
        await asyncio.gather(first, batcher.classify(slow, ["e"]))

    run(scenario)
    assert slow.batches == [["a"], ["b", "c"], ["d", "e"]]


def test_a_full_queue_refuses_at_once_and_says_when_to_come_again(slow):
    async def scenario(batcher):
        tasks = await asked(batcher, slow, ["a"], ["b", "c"])
        assert batcher.waiting == 2
        began = time.monotonic()
        with pytest.raises(Refused) as caught:
            await batcher.classify(slow, ["d", "e"])
        assert time.monotonic() - began < 1
        more = asyncio.create_task(batcher.classify(slow, ["d"]))  # for one there is room
        await asyncio.sleep(0.01)
        slow.go.set()
        await asyncio.gather(*tasks, more)
        return caught.value

    refused = run(scenario, max_queue=3)
    assert (refused.status, refused.kind) == (503, "overloaded")
    assert refused.retry_after >= 1


def test_an_error_is_that_of_its_own_request(slow):
    async def scenario(batcher):
        tasks = await asked(batcher, slow, ["a"], ["b"], ["broken"], ["c"])
        slow.go.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    a, b, broken, c = run(scenario)
    assert [found[0].text for found in (a, b, c)] == ["a", "b", "c"]
    assert isinstance(broken, ValueError)


def test_what_nobody_waits_for_is_not_computed(slow):
    async def scenario(batcher):
        tasks = await asked(batcher, slow, ["a"], ["b"], ["c"])
        tasks[1].cancel()
        await asyncio.sleep(0.01)
        assert batcher.waiting == 1
        slow.go.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    run(scenario)
    assert slow.batches == [["a"], ["c"]]


def test_a_request_is_answered_by_the_predictor_it_came_for(slow, serving):
    other = Slow(serving.predictor.classifier)

    async def scenario(batcher):
        tasks = await asked(batcher, slow, ["a"], ["b"])
        tasks.append(asyncio.create_task(batcher.classify(other, ["c"])))
        await asyncio.sleep(0.01)
        slow.go.set()
        await asyncio.gather(*tasks)

    run(scenario)
    assert slow.batches == [["a"], ["b"]]
    assert other.batches == [["c"]]


def test_the_end_waits_for_what_was_accepted(slow):
    async def scenario(batcher):
        tasks = await asked(batcher, slow, ["a"], ["b"])
        slow.go.set()
        await asyncio.to_thread(batcher.close)
        return await asyncio.gather(*tasks)

    assert [found[0].text for found in run(scenario)] == ["a", "b"]


def test_answers_do_not_depend_on_the_batch(serving):
    from spamgpt.classifier.predictor import Predictor

    texts = [f"WIN a FREE prize {n}" * (1 + n % 5) for n in range(30)]

    async def together(batcher):
        predictor = Predictor(serving.predictor.classifier)
        found = await asyncio.gather(*(batcher.classify(predictor, [text]) for text in texts))
        return [answer.probability for (answer,) in found]

    async def alone(batcher):
        predictor = Predictor(serving.predictor.classifier)
        return [(await batcher.classify(predictor, [text]))[0].probability for text in texts]

    assert run(together) == pytest.approx(run(alone), abs=1e-3)


def test_the_thread_goes_on_where_those_whom_it_waited_for_have_gone_away(slow, monkeypatch):
    monkeypatch.setattr(batching, "PATIENCE", 0.2)

    async def scenario(batcher):
        tasks = await asked(batcher, slow, *([str(n)] for n in range(8)))
        slow.go.set()
        await asyncio.gather(*tasks)
        alone = asyncio.create_task(batcher.classify(slow, ["gone"]))
        await asyncio.sleep(0.05)  # the thread waits for a second one
        alone.cancel()
        await asyncio.sleep(0.3)
        assert batcher.alive
        return await batcher.classify(slow, ["late"])

    assert run(scenario)[0].text == "late"
    assert ["gone"] not in slow.batches


def test_a_large_request_has_its_turns_while_small_ones_keep_coming(slow, monkeypatch):
    monkeypatch.setattr(batching, "MOST_AT_ONCE", 4)

    async def scenario(batcher):
        large = asyncio.create_task(batcher.classify(slow, [f"large {n}" for n in range(10)]))
        asked, count = set(), 0
        while not large.done() and count < 600:
            while len(asked) < 12:
                asked.add(asyncio.create_task(batcher.classify(slow, [f"small {count}"])))
                count += 1
            _, asked = await asyncio.wait(asked, return_when="FIRST_COMPLETED")
        await asyncio.gather(large, *asked)
        return count

    assert run(scenario, max_queue=1000) < 400
