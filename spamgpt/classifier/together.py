"""A classifier in several processes, each with one thread, which share the messages.

The matrix products of a small model are done before a second thread has woken up for them; whole
messages are worth sharing.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from spamgpt.classifier.apart import ClassifierApart
from spamgpt.classifier.base import TextClassifier
from spamgpt.data.batches import TokenizedMessages
from spamgpt.device import at_most_threads
from spamgpt.reporting import SILENT, Reporter


class Together(TextClassifier):
    """The classifier `here`, and others, each in a process of its own, that `load` returns there.

    `load` has to be picklable and give the same classifier, which is on the CPU. What each
    message is answered does not depend on where, but for the last digits.
    """

    def __init__(
        self, here: TextClassifier, load: Callable[[], TextClassifier], processes: int
    ) -> None:
        """`processes` is how many there are, this one among them. Raises as ClassifierApart."""
        self.config, self.tokenizer, self._here = here.config, here.tokenizer, here
        # They load at the same time, and compute with one thread, as `ClassifierApart` has it where
        # several suit a classifier. Each is waited for in a thread, which takes no processor.
        self._waiting = ThreadPoolExecutor(processes - 1)
        self._others = list(self._waiting.map(ClassifierApart, [load] * (processes - 1)))

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
        shares = _deal(windows, 1 + len(self._others))
        asked = [
            self._waiting.submit(other.window_probabilities, windows.of(share))
            for other, share in zip(self._others, shares[1:], strict=True)
            if share
        ]
        found = np.empty((len(windows), len(self.labels)))
        with at_most_threads(1):
            found[shares[0]] = self._here.window_probabilities(windows.of(shares[0]), reporter)
        for answered, share in zip(asked, filter(None, shares[1:]), strict=True):
            found[share] = answered.result()
        return found


def _deal(windows: TokenizedMessages, count: int) -> list[list[int]]:
    """So many lists of the numbers of the windows: about as many, and as long, in each."""
    by_length = sorted(range(len(windows)), key=lambda number: -len(windows.token_ids[number]))
    return [by_length[start::count] for start in range(count)]
