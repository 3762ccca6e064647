import numpy as np
import pytest

from spamgpt.evaluation import bootstrap
from spamgpt.evaluation.bootstrap import Resamples, draw, ratio
from spamgpt.evaluation.outcome import Outcome

LABELS = ["ham", "spam"]
TRUTH = ["ham", "ham", "ham", "spam", "spam"]
SPAM = np.array([0.1, 0.2, 0.7, 0.6, 0.9])
OUTCOME = Outcome(
    TRUTH, ["ham", "ham", "spam", "spam", "spam"], LABELS, "spam", np.stack([1 - SPAM, SPAM], 1)
)


def test_every_draw_has_as_many_messages_of_each_label(monkeypatch):
    whole = np.concatenate([part.weights for part in draw(OUTCOME, 20, seed=1)])
    assert whole.shape == (20, 5)
    assert (whole[:, :3].sum(axis=1) == 3).all()
    assert (whole[:, 3:].sum(axis=1) == 2).all()
    monkeypatch.setattr(bootstrap, "_AT_ONCE", 15)  # three at a time
    assert [len(part.weights) for part in draw(OUTCOME, 20, seed=1)] == [3] * 6 + [2]


def test_counts_of_a_weighted_sample():
    # The mistake twice, and one of the spam not at all.
    found = Resamples(OUTCOME, np.array([[1.0, 1, 2, 1, 0]]))
    assert found.messages == [5]
    assert found.hits.tolist() == [[2, 1]]
    assert found.truths.tolist() == [[4, 1]]
    assert found.answers.tolist() == [[2, 3]]
    assert found.recall.tolist() == [[0.5, 1]]
    assert found.precision[0] == pytest.approx([1, 1 / 3])
    auc, average_precision = found.rankings
    assert auc == [0.5]  # two of four pairs are in the right order
    assert average_precision == pytest.approx([1 / 3])
    assert found.mean(SPAM) == pytest.approx([(0.1 + 0.2 + 1.4 + 0.6) / 5])


def test_without_all_labels_nothing_is_ranked():
    one = Outcome(["ham"] * 5, TRUTH, LABELS, "spam", OUTCOME.scores)
    assert Resamples(one, np.ones((1, 5))).rankings is None


def test_nothing_of_nothing_is_none():
    assert ratio(np.array([0.0, 1.0]), np.array([0.0, 2.0])).tolist() == [0, 0.5]
