"""A classifier in several processes, each with one thread, which share the messages.

The matrix products of a small model are done before a second thread has woken up for them; whole
messages are worth sharing.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np
import numpy.typing as npt

from spamgpt.classifier.apart import ClassifierProcess
from spamgpt.classifier.base import TextClassifier
from spamgpt.data.batches import TokenizedMessages
from spamgpt.device import at_most_threads
from spamgpt.errors import SpamgptError
from spamgpt.reporting import SILENT, Reporter


class Together(TextClassifier):
    """The classifier `here`, and others, each in a process of its own, that `load` returns there.

    `load` has to be picklable and give the same classifier, which is on the CPU. Others take part
    as soon as they have loaded, unless there is no room for one. What each message is answered does
    not depend on where, but for the last digits.
    """

    def __init__(
        self, here: TextClassifier, load: Callable[[], TextClassifier], processes: int
    ) -> None:
        """`processes` is how many there are, this one among them.

        Raises SpamgptError if no other can begin.
        """
        self.config, self.tokenizer, self._here = here.config, here.tokenizer, here
        # They compute with one thread, since several of them suit the classifier.
        self._beginning = [ClassifierProcess(load) for _ in range(processes - 1)]
        self._others: list[ClassifierProcess] = []
        # Each is waited for in a thread, which takes no processor.
        self._waiting = ThreadPoolExecutor(processes - 1)

    @property
    def context(self) -> int:
        """The most tokens read at once; a longer text is read in windows."""
        return self._here.context

    @property
    def batch_tokens(self) -> int:
        """How many tokens are best computed together, in each of the processes."""
        return self._here.batch_tokens

    @property
    def card(self) -> str | None:
        """The model card (Markdown) that it was loaded with."""
        return self._here.card

    def window_probabilities(
        self, windows: TokenizedMessages, reporter: Reporter = SILENT
    ) -> npt.NDArray[np.float64]:
        """(windows, labels): the probability of each label for messages that fit the context."""
        self._take_on()
        shares = _deal(windows, 1 + len(self._others))
        asked = [
            self._waiting.submit(other.ask, "window_probabilities", windows.of(share))
            for other, share in zip(self._others, shares[1:], strict=True)
            if share
        ]
        found = np.empty((len(windows), len(self.labels)))
        with at_most_threads(1):
            found[shares[0]] = self._here.window_probabilities(windows.of(shares[0]), reporter)
        for answered, share in zip(asked, filter(None, shares[1:]), strict=True):
            found[share] = answered.result()
        return found

    def _take_on(self) -> None:
        """Has those take part that are ready by now."""
        for process in [each for each in self._beginning if each.ready]:
            self._beginning.remove(process)
            with suppress(SpamgptError):  # there is no room for it
                process.about()
                self._others.append(process)


def _deal(windows: TokenizedMessages, count: int) -> list[list[int]]:
    """So many lists of the numbers of the windows: about as many, and as long, in each."""
    by_length = sorted(range(len(windows)), key=lambda number: -len(windows.token_ids[number]))
    return [by_length[start::count] for start in range(count)]
