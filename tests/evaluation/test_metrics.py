import numpy as np
import pytest

from spamgpt.evaluation.metrics import Outcome, measure

TRUTH = ["ham", "ham", "ham", "spam", "spam"]
SPAM_PROBABILITY = np.array([0.1, 0.2, 0.7, 0.6, 0.9])
PROBABILITIES = np.stack([1 - SPAM_PROBABILITY, SPAM_PROBABILITY], axis=1)
PREDICTED = ["ham", "ham", "spam", "spam", "spam"]


def test_scores_of_a_worked_example():
    found = measure(
        Outcome(TRUTH, PREDICTED, ["ham", "spam"], "spam", PROBABILITIES, PROBABILITIES)
    )
    assert found["messages"] == 5
    assert found["accuracy"] == pytest.approx(4 / 5)
    assert found["precision"] == pytest.approx(2 / 3)
    assert found["recall"] == 1
    assert found["f1"] == pytest.approx(4 / 5)
    assert found["roc_auc"] == pytest.approx(5 / 6)  # one of six pairs is in the wrong order
    expected = -np.log([0.9, 0.8, 0.3, 0.6, 0.9]).mean()
    assert found["loss"] == pytest.approx(expected)
    assert found["confusion_matrix"] == [[2, 1], [0, 2]]
    assert found["labels"]["ham"] == {
        "precision": 1.0,
        "recall": pytest.approx(2 / 3),
        "f1": pytest.approx(4 / 5),
        "messages": 3,
    }


def test_a_label_that_does_not_occur_gets_no_roc_auc():
    found = measure(Outcome(["ham"], ["ham"], ["ham", "spam"], "spam", np.array([[0.9, 0.1]])))
    assert found["roc_auc"] is None
    assert found["recall"] == 0


def test_more_than_two_labels():
    labels = ["a", "b", "c"]
    probabilities = np.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6], [0.5, 0.4, 0.1]])
    found = measure(Outcome(["a", "b", "c", "b"], ["a", "b", "c", "a"], labels, "c", probabilities))
    assert found["accuracy"] == pytest.approx(3 / 4)
    assert found["confusion_matrix"] == [[1, 0, 0], [1, 1, 0], [0, 0, 1]]
    assert found["roc_auc"] == pytest.approx((1 + 1 + 1) / 3)
