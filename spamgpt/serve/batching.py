"""Dynamic batching: the messages of all requests are classified together, as they come.

A thread asks the classifier, which in `spamgpt serve` has a process of its own; where it has
several, as many threads do, and share what waits. Meanwhile messages gather; then it takes as many
of them as make a batch that suits the device, one of each request in turn, so that a request with a
thousand messages does not keep one with a single message waiting. No answer depends on the batch it
was computed in, but for the last digits.
"""

import asyncio
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from spamgpt.classifier.explanation import MOST
from spamgpt.classifier.predictor import Prediction, Predictor
from spamgpt.serve.limits import overloaded

# Clients that were just answered are waited for as long as one asks again within so many seconds.
PATIENCE = 0.002
# The most messages of a batch, however short.
MOST_AT_ONCE = 256
# English has about four characters a token. An estimate will do: the predictor, which makes the
# batches that the model sees, counts.
_CHARACTERS_PER_TOKEN = 4


@dataclass(eq=False)
class _Job:
    """The messages of one request. `taken` of them are computed or being computed."""

    predictor: Predictor
    texts: Sequence[str]
    explain: bool
    future: "asyncio.Future[list[Prediction]]"
    taken: int = 0
    answers: dict[int, Prediction] = field(default_factory=dict)

    @property
    def waiting(self) -> int:
        return len(self.texts) - self.taken

    @property
    def cost(self) -> int:
        """About how many tokens the next message makes the model read."""
        tokens = 1 + len(self.texts[self.taken]) // _CHARACTERS_PER_TOKEN
        return tokens * MOST if self.explain else tokens


# A job and which of its messages.
_Item: TypeAlias = tuple[_Job, int]


class Batcher:
    """The queue and the threads that empty it."""

    def __init__(
        self,
        max_queue: int,
        on_batch: Callable[[int, float], None] = lambda messages, seconds: None,
    ) -> None:
        """`on_batch` is called with the messages and the seconds of each batch, in a thread."""
        self._max_queue = max_queue
        self._on_batch = on_batch
        self._jobs: deque[_Job] = deque()
        self._waiting = 0
        self._rate = 0.0  # messages a second of a thread, lately
        self._computing = 0  # how many threads are
        self._closed = False
        self._changed = threading.Condition()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._threads: list[threading.Thread] = []

    @property
    def waiting(self) -> int:
        """How many messages wait to be computed."""
        return self._waiting

    @property
    def alive(self) -> bool:
        """Whether the threads compute, or will when they are asked to."""
        return all(thread.is_alive() for thread in self._threads)

    async def classify(
        self, predictor: Predictor, texts: Sequence[str], explain: bool = False
    ) -> list[Prediction]:
        """The answer to each text, in order, by this predictor.

        Raises Refused at once if the queue has no room for them, and whatever the predictor raises.
        """
        if not texts:
            return []
        self._loop = asyncio.get_running_loop()
        job = _Job(predictor, texts, explain, self._loop.create_future())
        with self._changed:
            if self._waiting + len(texts) > self._max_queue:
                rate = self._rate * len(self._threads)
                seconds = self._waiting / rate if rate else 1
                raise overloaded("The queue is full.", retry_after=min(60, 1 + int(seconds)))
            self._jobs.append(job)
            self._waiting += len(texts)
            self._changed.notify()
        while len(self._threads) < predictor.classifier.at_once:
            self._threads.append(threading.Thread(target=self._run, name="classifier", daemon=True))
            self._threads[-1].start()
        try:
            return await job.future
        except asyncio.CancelledError:
            self._forget(job)
            raise

    def close(self) -> None:
        """Ends the threads once all that was accepted is computed."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _forget(self, job: _Job) -> None:
        with self._changed:
            if job in self._jobs:
                self._jobs.remove(job)
                self._waiting -= job.waiting

    def _run(self) -> None:
        clients = 0
        while batch := self._next(clients):
            began = time.perf_counter()
            outcomes = _outcomes(batch)
            seconds = time.perf_counter() - began
            with self._changed:
                self._computing -= 1
                clients = len({*self._jobs, *(job for job, _ in batch)})
                self._rate = 0.8 * self._rate + 0.2 * len(batch) / seconds
            self._on_batch(len(batch), seconds)
            assert self._loop is not None
            self._loop.call_soon_threadsafe(_deliver, batch, outcomes)

    def _next(self, clients: int) -> list[_Item]:
        """The next batch; empty at the end.

        As many `clients` were waiting, or were about to be answered, when the last one was
        computed. Where those ask again at once, as a filter under load does, waiting for them makes
        full batches; where nothing came for a while, or one client asks alone, there is nothing to
        wait for.
        """
        with self._changed:
            batch: list[_Item] = []
            # Whoever was waited for may have gone away.
            while not batch and (self._jobs or not self._closed):
                began = time.monotonic()
                self._changed.wait_for(lambda: self._wanted() or self._closed)
                share = self._share(clients)
                if time.monotonic() - began <= PATIENCE:
                    self._gather(share)
                batch = self._take(share)
            self._computing += bool(batch)
            if self._jobs:
                self._changed.notify()  # for another thread there is something left
            return batch

    def _wanted(self) -> bool:
        """Whether there is something to compute, and another batch at once is welcome."""
        if not self._jobs:
            return False
        return self._computing < self._jobs[0].predictor.classifier.at_once

    def _share(self, clients: int) -> int:
        """How many requests are one thread's, of those of so many clients."""
        if not self._jobs:
            return 0
        at_once = self._jobs[0].predictor.classifier.at_once
        return math.ceil(max(clients, len(self._jobs)) / at_once)

    def _gather(self, share: int) -> None:
        """Waits for so many requests, as long as they keep coming."""
        coming = True
        while coming and len(self._jobs) < share and not self._closed:
            coming = self._changed.wait(PATIENCE)

    def _take(self, share: int) -> list[_Item]:
        jobs = deque(self._jobs.popleft() for _ in range(min(len(self._jobs), share)))
        batch: list[_Item] = []
        begun: deque[_Job] = deque()
        tokens = 0
        while (jobs or begun) and len(batch) < MOST_AT_ONCE:
            turns = jobs or begun
            job = turns[0]
            if batch and job.predictor is not batch[0][0].predictor:
                break
            if batch and tokens + job.cost > job.predictor.classifier.batch_tokens:
                break
            tokens += job.cost
            batch.append((job, job.taken))
            job.taken += 1
            self._waiting -= 1
            turns.popleft()
            if job.waiting:
                begun.append(job)
        # Those that had a turn now wait behind those that had none.
        self._jobs.extendleft(reversed(jobs))
        self._jobs.extend(begun)
        return batch


def _outcomes(batch: Sequence[_Item]) -> list[Prediction | Exception]:
    """The answer to each message, or the error that it ends in, which is no other message's."""
    try:
        predictions = batch[0][0].predictor.predict([job.texts[index] for job, index in batch])
    except Exception as error:
        if len(batch) == 1:
            return [error]
        return [outcome for item in batch for outcome in _outcomes([item])]
    return [
        _explained(job, prediction) if job.explain else prediction
        for (job, _), prediction in zip(batch, predictions, strict=True)
    ]


def _explained(job: _Job, prediction: Prediction) -> Prediction | Exception:
    try:
        return job.predictor.explained(prediction)
    except Exception as error:
        return error


def _deliver(batch: Sequence[_Item], outcomes: Sequence[Prediction | Exception]) -> None:
    """Hands the answers over, in the thread of the event loop."""
    for (job, index), outcome in zip(batch, outcomes, strict=True):
        if job.future.done():
            continue
        if isinstance(outcome, Exception):
            job.future.set_exception(outcome)
            continue
        job.answers[index] = outcome
        if len(job.answers) == len(job.texts):
            job.future.set_result([job.answers[place] for place in range(len(job.texts))])
