import numpy as np
import pytest

from spamgpt.evaluation.mistakes import surest_mistakes
from spamgpt.evaluation.outcome import Outcome


def test_the_surest_mistakes_of_each_answer_come_first():
    texts = [f"m{n}" for n in range(40)]
    truth = ["ham", "spam"] * 20
    predicted = ["spam", "ham"] * 20
    probability = np.linspace(0.5, 0.99, 40)
    of_spam = np.where(np.array(predicted) == "spam", probability, 1 - probability)
    rows = np.stack([1 - of_spam, of_spam], axis=1)
    found = surest_mistakes(texts, Outcome(truth, predicted, ["ham", "spam"], "spam", rows))
    assert [mistake.text for mistake in found[:2]] == ["m38", "m36"]
    assert [mistake.predicted for mistake in found] == ["spam"] * 6 + ["ham"] * 6
    assert found[0].probability == pytest.approx(probability[38])
    assert surest_mistakes(texts, Outcome(truth, truth, ["ham", "spam"], "spam", rows)) == []
