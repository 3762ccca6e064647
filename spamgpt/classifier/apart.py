"""A classifier that computes in processes of its own, so that this one is free for other work.

Python runs one thread at a time: where one computes and another reads and writes for clients, each
waits for the other hundreds of times a batch.
"""

import gc
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from multiprocessing.util import Finalize
from queue import LifoQueue
from typing import Any

import numpy as np
import numpy.typing as npt

from spamgpt.classifier.base import Predictions, TextClassifier
from spamgpt.classifier.config import ClassifierConfig
from spamgpt.classifier.explanation import Span
from spamgpt.data.batches import TokenizedMessages
from spamgpt.device import keep_freed_memory, set_threads
from spamgpt.errors import SpamgptError, as_user_error
from spamgpt.gpt2.tokenizer import Tokenizer
from spamgpt.reporting import SILENT, Reporter


@dataclass(frozen=True)
class _About:
    """What does not change of a classifier."""

    config: ClassifierConfig
    tokenizer: Tokenizer
    context: int
    batch_tokens: int
    card: str | None
    processes: int


class ClassifierApart(TextClassifier):
    """The classifier that `load` returns, called in other processes: both have to be picklable.

    Where several processes suit it (`processes`), more begin once more is asked at
    the same time than there are. If one dies, another one takes its place and is asked once more.
    They end with `close` or when nobody holds this object any more.
    """

    def __init__(self, load: Callable[[], TextClassifier]) -> None:
        """Raises the error that `load` ends with, as a SpamgptError."""
        self._load = load
        self._processes = [ClassifierProcess(load)]
        self._about = self._processes[0].about()
        self.config, self.tokenizer = self._about.config, self._about.tokenizer
        # The one that was asked last is asked first: while there is little to do, it does all.
        self._free = LifoQueue[ClassifierProcess]()
        self._free.put(self._processes[0])
        self._most = self._about.processes
        self._begun = 1
        self._counting = threading.Lock()
        self._beginner = ThreadPoolExecutor(1)

    def close(self) -> None:
        """Ends the processes, when they have answered what they were asked."""
        self._beginner.shutdown()
        for _ in self._processes:
            self._free.get().close()

    def _ask(self, method: str, *arguments: object) -> Any:
        with self._counting:
            if self._free.empty() and self._begun < self._most:
                self._begun += 1
                self._beginner.submit(self._begin)
        process = self._free.get()
        try:
            return process.ask(method, *arguments)
        finally:
            self._free.put(process)

    def _begin(self) -> None:
        try:
            process = ClassifierProcess(self._load)
            process.about()
        except (SpamgptError, OSError):  # there is no room for it
            self._most = len(self._processes)
            return
        self._processes.append(process)
        self._free.put(process)

    @property
    def at_once(self) -> int:
        """How many calls are best made at the same time, by as many threads."""
        return self._most

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


class ClassifierProcess:
    """A process that loads a classifier and then answers one call after another.

    It ends with `close` or when nobody holds this object any more; at once, if it still loads.
    """

    def __init__(self, load: Callable[[], TextClassifier]) -> None:
        """Raises SpamgptError if no process can begin."""
        self._load = load
        self._start()

    def _start(self) -> None:
        self._about: _About | None = None
        # Not forked: threads may compute here, and locks that they hold would stay locked there.
        context = get_context("spawn")
        self._connection, theirs = context.Pipe()
        self.process = context.Process(target=_answer, args=(self._load, theirs))
        Finalize(self, _end, (self._connection, self.process), exitpriority=0)
        try:
            with _interrupts_blocked():
                self.process.start()
        except OSError as error:
            raise SpamgptError(
                f"A process for the classifier cannot begin: {error.strerror}.",
                "The machine may lack memory or have too many processes.",
            ) from error
        finally:
            theirs.close()

    @property
    def ready(self) -> bool:
        """Whether it has loaded the classifier, or failed to."""
        return self._about is not None or self._connection.poll()

    def about(self) -> _About:
        """Waits until it has loaded the classifier; raises the error of that as a SpamgptError."""
        if self._about is not None:
            return self._about
        try:
            about: _About = self._received()
        except (EOFError, OSError):
            self.process.join()
            raise SpamgptError(
                f"The process that loads the classifier ended ({self.process.exitcode}).",
                "It may lack memory: close other programs, or use a smaller model.",
            ) from None
        self._about = about
        return about

    def close(self) -> None:
        """Ends it, once it has answered what it was asked."""
        self._connection.close()
        if self.process.pid is not None:  # it began
            self.process.join()

    def ask(self, method: str, *arguments: object) -> Any:
        """What the method of the classifier returns there; raises what it raises."""
        try:
            self._connection.send((method, arguments))
            return self._received()
        except (EOFError, OSError):
            self.close()
        self._start()
        self.about()
        try:
            self._connection.send((method, arguments))
            return self._received()
        except (EOFError, OSError) as error:
            raise SpamgptError(
                f"The process that classifies ended twice ({self.process.exitcode}).",
                "It may lack memory: close other programs, or use a smaller model.",
            ) from error

    def _received(self) -> Any:
        found = self._connection.recv()
        if isinstance(found, Exception):
            raise found
        return found


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """A process that begins meanwhile never gets them: Ctrl-C in a terminal reaches all."""
    if sys.platform == "win32":  # there they cannot be
        yield
        return
    from multiprocessing import resource_tracker

    # It begins with the first process, and then unblocks them.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end(connection: Connection, process: BaseProcess) -> None:
    """Lets a process end: without a connection nobody can ask it."""
    connection.close()
    with suppress(AttributeError, ValueError):  # it never began
        process.terminate()


def _answer(load: Callable[[], TextClassifier], connection: Connection) -> None:
    """What the other process does, until there is nobody to ask it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    keep_freed_memory()
    with suppress(EOFError, OSError):
        try:
            classifier = load()
        except Exception as error:
            connection.send(as_user_error(error))
            return
        # Ctrl-C in a terminal, and a service manager, reach it as well; what was accepted is
        # answered.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        # What is here now stays: it need not be looked through for garbage.
        gc.freeze()
        about = classifier.config, classifier.tokenizer, classifier.context
        processes = classifier.processes
        if processes > 1:
            set_threads(1)
        connection.send(_About(*about, classifier.batch_tokens, classifier.card, processes))
        while True:
            method, arguments = connection.recv()
            try:
                answer = getattr(classifier, method)(*arguments)
            except Exception as error:
                answer = as_user_error(error)
            connection.send(answer)
