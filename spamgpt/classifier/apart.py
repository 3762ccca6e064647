"""A classifier that computes in a process of its own, so that this one is free for other work.

Python runs one thread at a time: where one computes and another reads and writes for clients, each
waits for the other hundreds of times a batch.
"""

import gc
import signal
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import numpy.typing as npt

from spamgpt.classifier.base import Predictions, TextClassifier
from spamgpt.classifier.config import ClassifierConfig
from spamgpt.classifier.explanation import Span
from spamgpt.data.batches import TokenizedMessages
from spamgpt.device import at_most_threads
from spamgpt.errors import SpamgptError, as_user_error
from spamgpt.gpt2.tokenizer import Tokenizer
from spamgpt.reporting import SILENT, Reporter

# With more messages a second than this, one core is left to the process that asks.
_LEAVES_A_CORE = 300


@dataclass(frozen=True)
class _About:
    """What does not change of a classifier."""

    config: ClassifierConfig
    tokenizer: Tokenizer
    context: int
    batch_tokens: int
    card: str | None


class ClassifierApart(TextClassifier):
    """The classifier that `load` returns, called in the other process: both have to be picklable.

    If the process dies, another one takes its place and is asked once more. It ends with `close`
    or when nobody holds this object any more.
    """

    def __init__(self, load: Callable[[], TextClassifier]) -> None:
        """Raises the error that `load` ends with, as a SpamgptError."""
        self._load = load
        self._asking = threading.Lock()
        self._start()

    def _start(self) -> None:
        # Not forked: threads may compute here, and locks that they hold would stay locked there.
        context = get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_answer, args=(self._load, theirs))
        # Without a connection nobody can ask it, and it ends.
        weakref.finalize(self, self._connection.close)
        try:
            self._process.start()
        finally:
            theirs.close()
        try:
            self._about: _About = self._received()
        except EOFError:
            self._process.join()
            raise SpamgptError(
                f"The process that loads the classifier ended ({self._process.exitcode}).",
                "It may lack memory: close other programs, or use a smaller model.",
            ) from None
        self.config, self.tokenizer = self._about.config, self._about.tokenizer

    def close(self) -> None:
        """Ends the process, when it has answered what it was asked."""
        with self._asking:
            self._connection.close()
            self._process.join()

    def _ask(self, method: str, *arguments: object) -> Any:
        with self._asking:
            try:
                self._connection.send((method, arguments))
                return self._received()
            except (EOFError, OSError):
                self._connection.close()
                self._process.join()
            self._start()
            try:
                self._connection.send((method, arguments))
                return self._received()
            except (EOFError, OSError) as error:
                raise SpamgptError(
                    f"The process that classifies ended twice ({self._process.exitcode}).",
                    "It may lack memory: close other programs, or use a smaller model.",
                ) from error

    def _received(self) -> Any:
        found = self._connection.recv()
        if isinstance(found, Exception):
            raise found
        return found

    @property
    def context(self) -> int:
        """The most tokens read at once, the model's context or the padding; more are windows."""
        return self._about.context

    @property
    def batch_tokens(self) -> int:
        """How many tokens are best computed together."""
        return self._about.batch_tokens

    @property
    def card(self) -> str | None:
        """The model card (Markdown) that it was loaded with."""
        return self._about.card

    def window_probabilities(
        self, windows: TokenizedMessages, reporter: Reporter = SILENT
    ) -> npt.NDArray[np.float64]:
        """(windows, labels): the probability of each label for messages that fit the context."""
        found: npt.NDArray[np.float64] = self._ask("window_probabilities", windows)
        return found

    def predictions(self, texts: Sequence[str], reporter: Reporter = SILENT) -> Predictions:
        """The probability of each label for each message, in the order of `labels`."""
        found: Predictions = self._ask("predictions", texts)
        return found

    def explain(self, text: str, label: str | None = None) -> list[Span]:
        """What each part of a text adds to the log-odds of a label; as that of TextClassifier."""
        found: list[Span] = self._ask("explain", text, label)
        return found


def _answer(load: Callable[[], TextClassifier], connection: Connection) -> None:
    """What the other process does, until there is nobody to ask it."""
    # Ctrl-C in a terminal, and a service manager, reach it as well; what was accepted is answered.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    with suppress(EOFError, OSError):
        try:
            classifier = load()
        except Exception as error:
            connection.send(as_user_error(error))
            return
        import torch

        # What is here now stays: it need not be looked through for garbage.
        gc.freeze()
        about = classifier.config, classifier.tokenizer, classifier.context
        connection.send(_About(*about, classifier.batch_tokens, classifier.card))
        threads, rate = torch.get_num_threads(), 0.0  # messages a second, lately
        while True:
            method, arguments = connection.recv()
            began = time.perf_counter()
            try:
                with at_most_threads(threads - (rate > _LEAVES_A_CORE)):
                    answer = getattr(classifier, method)(*arguments)
            except Exception as error:
                answer = as_user_error(error)
            if isinstance(answer, Predictions):
                rate = 0.8 * rate + 0.2 * len(answer.windows) / (time.perf_counter() - began)
            connection.send(answer)
