"""What all protocols ask: the classifier in use, its answers within the limits, and teaching."""

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from spamgpt.classifier.predictor import Prediction, Predictor
from spamgpt.errors import BadDataError, SpamgptError, as_user_error
from spamgpt.serve.batching import Batcher
from spamgpt.serve.limits import Limits, Refused, Room, overloaded, stopping, too_large, unusable
from spamgpt.serve.metrics import Metrics


class Teach(Protocol):
    """Takes corrections. Returns when one is on disk."""

    def __call__(self, text: str, label: str | None) -> None:
        """The label that a text should get; None forgets what was said of it."""


@dataclass(frozen=True)
class Serving:
    """A classifier in use: what it is called and what answers."""

    name: str
    predictor: Predictor

    def to_dict(self) -> Mapping[str, object]:
        """What a client may want to know of it."""
        config = self.predictor.classifier.config
        two = len(config.labels) == 2
        return {
            "classifier": self.name,
            "labels": self.predictor.labels,
            "positive_label": config.positive_label,
            "threshold": self.predictor.threshold if two else None,
            "context": self.predictor.classifier.context,
            "card": self.predictor.classifier.card,
        }


class Service:
    """One classifier, one queue, one set of limits, whichever protocol asks."""

    def __init__(
        self,
        serving: Serving,
        limits: Limits | None = None,
        teach: Teach | None = None,
        explain_mails: bool = True,
    ) -> None:
        """Without `teach`, corrections are refused.

        With `explain_mails`, what mail filters ask for names the strongest words.
        """
        self.limits = limits or Limits()
        self.metrics = Metrics()
        self.room = Room(self.limits)
        self.explain_mails = explain_mails
        self.stopping = False
        # What ends when the server stops: the readers of streams, which may have no end.
        self.endless: set[asyncio.Task[None]] = set()
        self._teach = teach
        # One after another, and in a thread of their own: the disk may be slow.
        self._teacher = ThreadPoolExecutor(1, "corrections")
        self._batcher = Batcher(self.limits.max_queue, self.metrics.count_batch)
        self.metrics.queue.set_function(lambda: self._batcher.waiting)
        self.use(serving)

    def use(self, serving: Serving) -> None:
        """Answers what comes from now on with this classifier; what came before is not touched."""
        self.metrics.classifier.clear()
        self.metrics.classifier.labels(serving.name).set(1)
        self.serving = serving

    async def classify(
        self, texts: Sequence[str], explain: bool = False, serving: Serving | None = None
    ) -> list[Prediction]:
        """The answer to each text, in order, by one classifier: the one in use unless given.

        Raises Refused for what is beyond the limits, when the queue is full and when the time is
        over.
        """
        limits = self.limits
        if len(texts) > limits.max_texts:
            raise too_large(f"{len(texts):,} messages; at most {limits.max_texts:,} at once.")
        self._check_length(max(map(len, texts), default=0))
        predictor = (serving or self.serving).predictor
        try:
            async with asyncio.timeout(limits.timeout):
                found = await self._batcher.classify(predictor, texts, explain)
        except TimeoutError:
            raise overloaded(
                f"The answer took longer than {limits.timeout:g} seconds.", retry_after=5
            ) from None
        for prediction in found:
            self.metrics.answers.labels(prediction.label).inc()
        return found

    def _check_length(self, longest: int) -> None:
        most = self.limits.max_text
        if longest > most:
            raise too_large(f"A message of {longest:,} characters; at most {most:,}.")

    @property
    def can_learn(self) -> bool:
        """Whether corrections are taken."""
        return self._teach is not None

    async def teach(self, text: str, label: str | None) -> None:
        """Takes a correction; it is on disk when this returns. Raises Refused."""
        if self._teach is None:
            raise Refused(501, "not_available", "This server does not take corrections.")
        labels = self.serving.predictor.classifier.labels
        if label is not None and label not in labels:
            raise unusable(f"The label is none of {', '.join(labels)}.")
        self._check_length(len(text))
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self.limits.timeout):
                await loop.run_in_executor(self._teacher, self._teach, text, label)
        except TimeoutError:
            raise Refused(
                503,
                "not_available",
                f"The disk took longer than {self.limits.timeout:g} seconds.",
                retry_after=5,
            ) from None
        except BadDataError as error:
            raise unusable(error.message) from error
        except (SpamgptError, OSError) as error:
            raise Refused(503, "not_available", as_user_error(error).message) from error
        self.metrics.corrections.labels(label or "forgotten").inc()

    def check_open(self) -> None:
        """Raises Refused while the server stops."""
        if self.stopping:
            raise stopping()

    def stop(self) -> None:
        """Takes no new work from now on; what was accepted is still answered."""
        self.stopping = True
        for task in self.endless:
            task.cancel()

    @property
    def alive(self) -> bool:
        """Whether messages are classified."""
        return self._batcher.alive

    def close(self) -> None:
        """Ends when all that was accepted is computed."""
        self.stop()
        self._teacher.shutdown()
        self._batcher.close()
