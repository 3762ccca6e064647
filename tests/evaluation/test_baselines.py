import numpy as np
import pytest

from spamgpt.bundled import MESSAGES_FILE
from spamgpt.data.tables import read_labelled_file
from spamgpt.errors import BadDataError
from spamgpt.evaluation.baselines import LINEAR_SVM, LOGISTIC, MAJORITY, baselines
from spamgpt.evaluation.metrics import ACCURACY, LOSS, ROC_AUC, compute_metrics


@pytest.fixture(scope="module")
def bundled():
    return read_labelled_file(MESSAGES_FILE).sample(frac=1, random_state=1)


def split(table, labels, column="label", train=300, test=150):
    rest = table[train:]
    return (
        list(table["text"][:train]),
        list(table[column][:train]),
        list(rest["text"][:test]),
        list(rest[column][:test]),
        labels,
        labels[-1],
    )


def test_linear_models_learn_and_the_majority_does_not(bundled):
    found = {name: compute_metrics(o) for name, o in baselines(*split(bundled, ["ham", "spam"]))}
    assert list(found) == [LINEAR_SVM, LOGISTIC, MAJORITY]
    majority = found[MAJORITY]
    assert majority.confusion_matrix[1][1] == 0
    assert majority[ROC_AUC] == 0.5
    for name in (LINEAR_SVM, LOGISTIC):
        assert found[name][ACCURACY] > majority[ACCURACY] + 0.05
        assert found[name][ROC_AUC] > 0.7
    assert found[LINEAR_SVM][LOSS] is None  # it has no probabilities
    assert 0 < found[LOGISTIC][LOSS] < majority[LOSS]


def test_baselines_take_any_number_of_labels_also_one_that_was_not_trained_on(bundled):
    labelled = bundled.assign(
        third=np.where(bundled["text"].str.contains("your"), "your", bundled["label"])
    )
    labels = ["absent", "ham", "spam", "your"]
    for name, outcome in baselines(*split(labelled, labels, "third")):
        assert outcome.scores.shape == (150, 4)
        assert outcome.scores[:, 0].max() <= outcome.scores[:, 1:].min(), name
        scores = compute_metrics(outcome)
        assert scores.labels["absent"].messages == 0
        if name == LINEAR_SVM:
            assert scores.labels["your"].f1 > 0.5


def test_nothing_to_learn_from_is_told():
    data = (["!", "?"], ["ham", "spam"], ["!"], ["ham"], ["ham", "spam"], "spam")
    with pytest.raises(BadDataError, match="cannot learn"):
        list(baselines(*data))
