"""What mail filters make of an answer: SpamAssassin's score, the strongest words, one number."""

import math
import string
from urllib.parse import quote

from spamgpt.classifier.explanation import top
from spamgpt.classifier.predictor import Prediction, Predictor

# From this score on a mail is spam, as SpamAssassin has it.
REQUIRED = 5.0
# How many words are named, and how much of one.
_WORDS, _LONGEST_WORD = 5, 40
_AROUND_WORDS = string.whitespace + ".,;:!?\"'()<>"
_LEAST = 1e-9


def margin(prediction: Prediction, predictor: Predictor) -> float:
    """How far the answer is from the threshold, in nats of log-odds; spam from 0 on.

    With more than two labels it is how far the log-probability of the positive one is above that of
    the most probable other.
    """
    of_label = prediction.probabilities
    positive = predictor.positive_label
    if len(of_label) == 2:
        distance = _log_odds(of_label[positive]) - _log_odds(predictor.threshold)
    else:
        others = max(p for label, p in of_label.items() if label != positive)
        distance = math.log(max(of_label[positive], _LEAST)) - math.log(max(others, _LEAST))
    return max(0.0, distance) if is_spam(prediction, predictor) else min(0.0, distance)


def is_spam(prediction: Prediction, predictor: Predictor) -> bool:
    """Whether the answer is the label that the filter looks for."""
    return prediction.label == predictor.positive_label


def score(prediction: Prediction, predictor: Predictor) -> float:
    """The answer in SpamAssassin's points, in tenths: REQUIRED at the threshold, a nat a point."""
    points = math.floor(10 * (REQUIRED + margin(prediction, predictor))) / 10
    # Ham just below the threshold must not read as spam to who compares the numbers.
    return points if is_spam(prediction, predictor) else min(points, REQUIRED - 0.1)


def probability_around_half(prediction: Prediction, predictor: Predictor) -> float:
    """The probability of spam, moved along the log-odds so that the threshold becomes one half.

    For filters that cut at 0.5 whatever the model says, as rspamd does.
    """
    return 1 / (1 + math.exp(-margin(prediction, predictor)))


def in_words(prediction: Prediction, predictor: Predictor) -> str:
    """The answer as a person may read it: `ham, probability of spam 12.3%, threshold 90.4%`."""
    positive = predictor.positive_label
    said = f"{prediction.label}, probability of {positive} {prediction.probabilities[positive]:.1%}"
    two = len(prediction.probabilities) == 2
    return f"{said}, threshold {predictor.threshold:.1%}" if two else said


def strongest_words(prediction: Prediction) -> list[tuple[str, float]]:
    """The words that spoke most for the answer, with their weights, the strongest first.

    Empty without an explanation. They are percent-encoded where they are not plain ASCII words, so
    that none can end a header, a list or a line.
    """
    spans = top(prediction.explanation or [], _WORDS)
    words = (
        prediction.text[span.start : span.end].strip(_AROUND_WORDS)[:_LONGEST_WORD]
        for span in spans
    )
    return [
        (quote(word, safe="", errors="replace"), span.weight)
        for word, span in zip(words, spans, strict=True)
        if word
    ]


def _log_odds(probability: float) -> float:
    inside = min(max(probability, _LEAST), 1 - _LEAST)
    return math.log(inside) - math.log1p(-inside)
