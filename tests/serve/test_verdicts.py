import dataclasses

import pytest

from spamgpt.classifier.explanation import Span
from spamgpt.classifier.predictor import Prediction
from spamgpt.serve.verdicts import (
    in_words,
    margin,
    probability_around_half,
    score,
    strongest_words,
)


@dataclasses.dataclass
class Labelled:
    """What a verdict asks of a predictor."""

    threshold: float
    positive_label: str = "spam"


def answered(p: float, threshold: float) -> Prediction:
    label = "spam" if p >= threshold else "ham"
    return Prediction("x", label, {"ham": 1 - p, "spam": p}, p, 1)


@pytest.mark.parametrize("threshold", [0.0, 1e-12, 0.1, 0.5, 0.9, 0.999, 1.0])
def test_five_points_are_the_threshold_and_more_probable_spam_has_more(threshold):
    before = None
    for p in (0.0, 1e-12, 0.05, 0.1, 0.3, 0.5, 0.8999999, 0.9, 0.95, 0.999, 1 - 1e-12, 1.0):
        prediction = answered(p, threshold)
        points = score(prediction, Labelled(threshold))
        spam = prediction.label == "spam"
        assert (points >= 5.0) == (float(f"{points:.1f}") >= 5.0) == spam
        assert (probability_around_half(prediction, Labelled(threshold)) >= 0.5) >= spam
        assert before is None or points >= before
        before = points


def test_a_nat_is_a_point():
    prediction = answered(0.9, 0.5)
    assert margin(prediction, Labelled(0.5)) == pytest.approx(2.1972, abs=1e-4)
    assert score(prediction, Labelled(0.5)) == 7.1
    assert probability_around_half(prediction, Labelled(0.5)) == pytest.approx(0.9)
    assert probability_around_half(prediction, Labelled(0.9)) == pytest.approx(0.5)


def test_with_more_labels_the_best_other_one_counts():
    prediction = Prediction("x", "spam", {"ham": 0.3, "news": 0.1, "spam": 0.6}, 0.6, 1)
    assert score(prediction, Labelled(0.5)) == 5.6
    other = Prediction("x", "ham", {"ham": 0.5, "news": 0.1, "spam": 0.4}, 0.5, 1)
    assert score(other, Labelled(0.5)) < 5


def test_words_cannot_leave_their_place_in_a_header():
    text = "free,\r\nX-Evil: 1 caf\u00e9 " + "l" * 100 + " \ud800\u202e"
    words = text.split(" ")
    spans, at = [], 0
    for number, word in enumerate(words):
        spans.append(Span(at, at + len(word), 1.0 - number / 10))
        at += len(word) + 1
    named = strongest_words(dataclasses.replace(answered(0.9, 0.5), text=text, explanation=spans))
    assert len(named) == 5
    assert [weight for _, weight in named] == sorted((w for _, w in named), reverse=True)
    assert named[0][0] == "free%2C%0D%0AX-Evil"
    for word, _ in named:
        assert word.isascii()
        assert not set(word) & set(" ,\r\n\t;=")
        assert len(word) <= 120
    assert strongest_words(answered(0.9, 0.5)) == []


def test_an_answer_in_words():
    said = in_words(answered(0.123, 0.904), Labelled(0.904))
    assert said == "ham, probability of spam 12.3%, threshold 90.4%"
