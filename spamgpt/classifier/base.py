"""What every classifier of texts does, whatever computes the probabilities of its tokens."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from spamgpt.classifier.config import ClassifierConfig
from spamgpt.classifier.explanation import Span, explain
from spamgpt.data.batches import TokenizedMessages, tokenize_in_windows
from spamgpt.gpt2.tokenizer import Tokenizer
from spamgpt.reporting import SILENT, Reporter


@dataclass(frozen=True)
class Predictions:
    """(messages, labels) probabilities, and in how many windows each message was read.

    `windows_left_out` is how many more windows some long messages have, which are not read.
    """

    probabilities: npt.NDArray[np.float64]
    windows: list[int]
    windows_left_out: list[int]


class TextClassifier(ABC):
    """Each message is classified from its own tokens alone."""

    config: ClassifierConfig
    tokenizer: Tokenizer

    @property
    @abstractmethod
    def context(self) -> int:
        """The most tokens read at once, the model's context or the padding; more are windows."""

    @property
    @abstractmethod
    def batch_tokens(self) -> int:
        """How many tokens are best computed together."""

    @property
    @abstractmethod
    def card(self) -> str | None:
        """The model card (Markdown) that it was loaded with."""

    @abstractmethod
    def window_probabilities(
        self, windows: TokenizedMessages, reporter: Reporter = SILENT
    ) -> npt.NDArray[np.float64]:
        """(windows, labels): the probability of each label for messages that fit the context."""

    @property
    def processes(self) -> int:
        """In how many processes, of one thread each, many messages are answered fastest."""
        return 1

    @property
    def at_once(self) -> int:
        """How many calls are best made at the same time, by as many threads."""
        return 1

    @property
    def labels(self) -> list[str]:
        """The labels, in the order of the columns of `predict_proba`."""
        return self.config.labels

    def predictions(self, texts: Sequence[str], reporter: Reporter = SILENT) -> Predictions:
        """The probability of each label for each message, in the order of `labels`.

        A message longer than the context is read in windows (`tokenize_in_windows`), whose answers
        are combined (`ClassifierConfig.combine`). Raises TypeError for one string.
        """
        if isinstance(texts, str):
            raise TypeError("texts is one string; give a list of messages")
        if not texts:
            return Predictions(np.empty((0, len(self.labels))), [], [])
        # The same text is computed once.
        places = {text: place for place, text in enumerate(dict.fromkeys(texts))}
        cut = tokenize_in_windows(list(places), self.tokenizer, self.context)
        of_windows = self.window_probabilities(cut.messages, reporter)
        probabilities = self.config.combine(of_windows, cut.offsets)
        wanted, counts = [places[text] for text in texts], cut.counts
        return Predictions(
            probabilities[wanted],
            [counts[place] for place in wanted],
            [cut.left_out[place] for place in wanted],
        )

    def predict_proba(self, texts: Sequence[str]) -> npt.NDArray[np.float64]:
        """(messages, labels): the probability of each label, in the order of `labels`."""
        return self.predictions(texts).probabilities

    def predict(self, texts: Sequence[str]) -> list[str]:
        """The label of each message."""
        return self.config.decide(self.predict_proba(texts))

    def explain(self, text: str, label: str | None = None) -> list[Span]:
        """What each part of a text adds to the log-odds of a label, by default the predicted one.

        The spans cover the text, in order; a part is a word, a number or a whole address. It takes
        as long as dozens of predictions. Raises ValueError for a label that the classifier lacks.
        """
        return explain(self, text, self.predict([text])[0] if label is None else label)
