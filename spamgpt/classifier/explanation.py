"""Why a classifier answers as it does: what each word of a message adds to the answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from spamgpt.classifier.config import ClassifierConfig
from spamgpt.classifier.parts import parts
from spamgpt.data.batches import TokenizedMessages, tokenize_in_windows
from spamgpt.gpt2.tokenizer import Tokenizer

# Zeiler & Fergus 2014 (for images), Li, Monroe, Jurafsky 2016 (for words).
METHOD = "occlusion: the log-odds of the label given, less those without the word"

# A message is read once for each of its parts, of which it has at most so many, and in a long one
# as often again for the words of its weightiest parts.
MOST = 64


@dataclass(frozen=True)
class Span:
    """The characters `start` to `end` of a text and their weight, in nats of log-odds.

    A positive weight spoke for the label that was given, a negative one against it.
    """

    start: int
    end: int
    weight: float


class Explainable(Protocol):
    """What an explanation asks of a classifier: SpamClassifier has it."""

    config: ClassifierConfig
    tokenizer: Tokenizer

    @property
    def context(self) -> int:
        """The context length in tokens."""

    def predict_proba(self, texts: Sequence[str]) -> npt.NDArray[np.float64]:
        """(messages, labels): the probability of each label."""

    def window_probabilities(self, windows: TokenizedMessages) -> npt.NDArray[np.float64]:
        """(windows, labels): the probability of each label for windows of a message."""


def explain(classifier: Explainable, text: str, label: str) -> list[Span]:
    """The weight of each part of a text for a label; the spans cover the text, in order.

    A part is a word, a number or a whole address with the space before it, or in long texts some of
    them. It is left out and the rest is scored; what the label's log-odds lose is its weight. Of a
    text longer than the context the window that decided is explained; what is around it weighs
    nothing.
    """
    start, end = _deciding_window(classifier, text, label)
    words = parts(text, start, end)
    size = -(-len(words) // MOST) or 1  # words in a group
    groups = [words[first : first + size] for first in range(0, len(words), size)]
    spans = _weighed(classifier, text[:end], start, [_around(group) for group in groups], label)
    if size > 1:
        strongest = sorted(range(len(spans)), key=lambda index: -abs(spans[index].weight))
        closer = sorted(strongest[: MOST // size])
        weightiest = [word for index in closer for word in groups[index]]
        kept = [span for index, span in enumerate(spans) if index not in closer]
        spans = kept + _weighed(classifier, text[:end], start, weightiest, label)
    around = [Span(*ends, 0.0) for ends in ((0, start), (end, len(text))) if ends[0] < ends[1]]
    return sorted(spans + around, key=lambda span: span.start)


def top(spans: Sequence[Span], count: int) -> list[Span]:
    """The spans that spoke most for the label, the strongest first."""
    return sorted((s for s in spans if s.weight > 0), key=lambda s: -s.weight)[:count]


def _deciding_window(classifier: Explainable, text: str, label: str) -> tuple[int, int]:
    """The characters of the window whose answer counts most (`ClassifierConfig.combine`)."""
    cut = tokenize_in_windows([text], classifier.tokenizer, classifier.context)
    windows = cut.messages
    if len(windows) == 1:
        return 0, len(text)
    config = classifier.config
    probabilities = classifier.window_probabilities(windows)
    deciding = label if len(config.labels) > 2 else config.positive_label
    chosen = int(probabilities[:, config.labels.index(deciding)].argmax())
    (ids,) = classifier.tokenizer.encode([text])
    start, end = (
        len(classifier.tokenizer.decode(ids[:place]))
        for place in (cut.starts[chosen], cut.starts[chosen] + classifier.context)
    )
    return start, end if chosen < len(windows) - 1 else len(text)


def _weighed(
    classifier: Explainable,
    text: str,
    start: int,
    places: Sequence[tuple[int, int]],
    label: str,
) -> list[Span]:
    """What the text from `start` on loses of the label's log-odds without each of the places."""
    without = [text[start:first] + text[last:] for first, last in places]
    column = classifier.config.labels.index(label)
    probabilities = classifier.predict_proba([text[start:], *without])[:, column]
    probabilities = probabilities.clip(1e-9, 1 - 1e-9)
    log_odds = np.log(probabilities) - np.log1p(-probabilities)
    return [
        Span(first, last, float(log_odds[0] - log_odds[1 + number]))
        for number, (first, last) in enumerate(places)
    ]


def _around(words: Sequence[tuple[int, int]]) -> tuple[int, int]:
    return words[0][0], words[-1][1]
