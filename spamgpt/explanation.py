"""Why a classifier answers as it does: what each word of a message adds to the answer."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spamgpt.classifier import SpamClassifier

# Zeiler & Fergus 2014 (for images), Li, Monroe, Jurafsky 2016 (for words).
METHOD = "occlusion: the log-odds of the label given, less those without the word"

# A message is read once for each of its parts, of which it has at most so many; a word longer than
# LONGEST characters (an address, or a script without spaces) is more than one part.
MOST, LONGEST = 64, 12
_WORD = re.compile(rf"\s*\S{{1,{LONGEST}}}|\s+")


@dataclass(frozen=True)
class Span:
    """The characters `start` to `end` of a text and their weight, in nats of log-odds.

    A positive weight spoke for the label that was given, a negative one against it.
    """

    start: int
    end: int
    weight: float


def explain(classifier: SpamClassifier, text: str, label: str) -> list[Span]:
    """The weight of each part of a text for a label; the spans cover the text, in order.

    A part is a word with the space before it, or in long texts some words. It is left out and the
    rest is scored; what the label's log-odds lose is its weight.
    """
    parts = _parts(text)
    without = [text[:start] + text[end:] for start, end in parts]
    column = classifier.labels.index(label)
    probabilities = classifier.predict_proba([text, *without])[:, column].clip(1e-9, 1 - 1e-9)
    log_odds = np.log(probabilities) - np.log1p(-probabilities)
    return [
        Span(start, end, float(log_odds[0] - log_odds[1 + number]))
        for number, (start, end) in enumerate(parts)
    ]


def top(spans: Sequence[Span], count: int) -> list[Span]:
    """The spans that spoke most for the label, the strongest first."""
    return sorted((s for s in spans if s.weight > 0), key=lambda s: -s.weight)[:count]


def _parts(text: str) -> list[tuple[int, int]]:
    words = [match.span() for match in _WORD.finditer(text)]
    size = -(-len(words) // MOST) or 1  # words in a part
    groups = (words[start : start + size] for start in range(0, len(words), size))
    return [(group[0][0], group[-1][1]) for group in groups]
