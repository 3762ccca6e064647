"""The wrong answers of a classifier that it was surest of, and the words that drove them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from spamgpt.evaluation.outcome import Outcome
from spamgpt.reporting import SILENT, Reporter

if TYPE_CHECKING:
    from spamgpt.classifier.model import SpamClassifier

MISTAKES_SHOWN = 12


@dataclass(frozen=True)
class Highlight:
    """Characters `start` to `end` of a message, and how much they drove its answer.

    A positive weight spoke for the answer given, a negative one against it; only their proportions
    within a message matter.
    """

    start: int
    end: int
    weight: float


@dataclass(frozen=True)
class Mistake:
    """A message that got the wrong label, and the probability with which it did."""

    text: str
    truth: str
    predicted: str
    probability: float
    highlights: Sequence[Highlight] = ()


def surest_mistakes(texts: Sequence[str], outcome: Outcome) -> list[Mistake]:
    """The surest wrong answers, without highlights: as many of each answer, the surest first.

    Were they not taken answer by answer, one kind could fill the list.
    """
    of_each = max(1, MISTAKES_SHOWN // len(outcome.labels))
    found = [
        Mistake(
            texts[row],
            outcome.truth[row],
            outcome.predicted[row],
            float(outcome.scores[row, outcome.predicted_indices[row]]),
        )
        for row in np.flatnonzero(~outcome.correct).tolist()
    ]
    found.sort(key=lambda mistake: -mistake.probability)
    return [
        mistake
        for name in reversed(outcome.labels)
        for mistake in [each for each in found if each.predicted == name][:of_each]
    ]


def explained(
    mistakes: Sequence[Mistake], classifier: "SpamClassifier", reporter: Reporter = SILENT
) -> list[Mistake]:
    """The mistakes with what drove their answers; each takes many answers of the classifier."""
    from spamgpt.classifier.explanation import explain

    found = []
    with reporter.task("Explaining the surest mistakes", len(mistakes), "messages") as task:
        for mistake in mistakes:
            spans = explain(classifier, mistake.text, mistake.predicted)
            highlights = [Highlight(span.start, span.end, span.weight) for span in spans]
            found.append(replace(mistake, highlights=highlights))
            task.advance(1)
    return found
