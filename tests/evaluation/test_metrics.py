import numpy as np
import pytest

from spamgpt.evaluation.metrics import (
    ACCURACY,
    F1,
    LOSS,
    METRICS,
    PRECISION,
    RECALL,
    ROC_AUC,
    LabelScores,
    compute_metrics,
)
from spamgpt.evaluation.outcome import Outcome

TRUTH = ["ham", "ham", "ham", "spam", "spam"]
SPAM_PROBABILITY = np.array([0.1, 0.2, 0.7, 0.6, 0.9])
PROBABILITIES = np.stack([1 - SPAM_PROBABILITY, SPAM_PROBABILITY], axis=1)
PREDICTED = ["ham", "ham", "spam", "spam", "spam"]


def test_scores_of_a_worked_example():
    found = compute_metrics(
        Outcome(TRUTH, PREDICTED, ["ham", "spam"], "spam", PROBABILITIES, PROBABILITIES)
    )
    assert found.messages == 5
    assert found[ACCURACY] == pytest.approx(4 / 5)
    assert found[PRECISION] == pytest.approx(2 / 3)
    assert found[RECALL] == 1
    assert found[F1] == pytest.approx(4 / 5)
    assert found[ROC_AUC] == pytest.approx(5 / 6)  # one of six pairs is in the wrong order
    expected = -np.log([0.9, 0.8, 0.3, 0.6, 0.9]).mean()
    assert found[LOSS] == pytest.approx(expected)
    assert found.confusion_matrix == ((2, 1), (0, 2))
    assert found.labels["ham"] == LabelScores(
        precision=1.0, recall=pytest.approx(2 / 3), f1=pytest.approx(4 / 5), messages=3
    )
    assert (found.count("ham", "spam"), found.negatives) == (1, 3)
    assert found.accuracy == found[ACCURACY]


def test_a_label_that_does_not_occur_gets_no_roc_auc():
    found = compute_metrics(
        Outcome(["ham"], ["ham"], ["ham", "spam"], "spam", np.array([[0.9, 0.1]]))
    )
    assert found[ROC_AUC] is None
    assert found[RECALL] == 0


def test_more_than_two_labels():
    labels = ["a", "b", "c"]
    probabilities = np.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6], [0.5, 0.4, 0.1]])
    found = compute_metrics(
        Outcome(["a", "b", "c", "b"], ["a", "b", "c", "a"], labels, "c", probabilities)
    )
    assert found[ACCURACY] == pytest.approx(3 / 4)
    assert found.confusion_matrix == ((1, 0, 0), (1, 1, 0), (0, 0, 1))
    assert found[ROC_AUC] == pytest.approx((1 + 1 + 1) / 3)


def test_a_metric_says_what_it_is_about_and_which_way_is_better():
    assert RECALL.title("a {b}") == "recall of a {b}"
    assert ACCURACY.title("spam") == "accuracy"
    assert PRECISION.explained("{0}", 2) == "of what was called {0}, how much was"
    assert LOSS.explained("spam", 2).endswith("; less is better")
    assert ROC_AUC.explained("spam", 2) != ROC_AUC.explained("spam", 3)
    assert list(METRICS) == [metric.key for metric in METRICS.values()]
