"""The scores of a classifier on messages with known labels; the arithmetic is scikit-learn's."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn import metrics

from spamgpt.evaluation.calibration import ECE_BINS, Floats, calibration_error

# What stands at the top of `measure`, besides the scores of each label.
SCALARS = (
    "accuracy",
    "balanced_accuracy",
    "precision",
    "recall",
    "f1",
    "macro_f1",
    "roc_auc",
    "average_precision",
    "mcc",
    "loss",
    "brier",
    "ece",
)
OF_A_LABEL = ("precision", "recall", "f1")


@dataclass(frozen=True)
class Outcome:
    """What was answered for messages whose labels are known.

    `scores` is (messages, labels): the higher, the more likely the label. `probabilities` is of the
    same shape, or None for a model that has none; they sum to one for each message.
    """

    truth: Sequence[str]
    predicted: Sequence[str]
    labels: Sequence[str]
    positive_label: str
    scores: Floats
    probabilities: Floats | None = None

    @cached_property
    def truth_indices(self) -> npt.NDArray[np.intp]:
        """(messages,): the place of each true label in `labels`."""
        return _indices(self.truth, self.labels)

    @cached_property
    def predicted_indices(self) -> npt.NDArray[np.intp]:
        """(messages,): the place of each answer in `labels`."""
        return _indices(self.predicted, self.labels)

    @property
    def correct(self) -> npt.NDArray[np.bool_]:
        return np.asarray(self.truth_indices == self.predicted_indices)

    @property
    def ranked_labels(self) -> list[int]:
        """The labels whose ranking is judged: the positive of two, each of more.

        Empty where a label has no message: a ranking without one side says nothing.
        """
        if len(set(self.truth)) < len(self.labels):
            return []
        if len(self.labels) == 2:
            return [list(self.labels).index(self.positive_label)]
        return list(range(len(self.labels)))


def measure(outcome: Outcome) -> dict[str, Any]:
    """The SCALARS, the scores of each label, and the confusion matrix.

    `precision`, `recall` and `f1` at the top are those of the positive label, `macro_f1` is the
    mean over labels. `roc_auc` and `average_precision` are of the positive of two labels, with more
    the mean over one label against the rest; None where the messages do not have all the labels.
    `loss` is cross-entropy in nats a message. `brier` is the mean squared error of the positive
    label's probability, with more labels summed over them. `ece` is the expected calibration error
    (`calibration_error`). The last three are None without probabilities. `confusion_matrix[i][j]`
    counts messages of label i that were taken for label j.
    """
    names = list(outcome.labels)
    precision, recall, f1, support = metrics.precision_recall_fscore_support(
        outcome.truth, outcome.predicted, labels=names, zero_division=0.0
    )
    of_label = {
        label: {
            "precision": float(precision[index]),
            "recall": float(recall[index]),
            "f1": float(f1[index]),
            "messages": int(support[index]),
        }
        for index, label in enumerate(names)
    }
    return {
        "messages": len(outcome.truth),
        "positive_label": outcome.positive_label,
        "accuracy": float(metrics.accuracy_score(outcome.truth, outcome.predicted)),
        # scikit-learn's balanced_accuracy_score, which warns where a label has no message.
        "balanced_accuracy": float(recall[support > 0].mean()),
        **{name: of_label[outcome.positive_label][name] for name in OF_A_LABEL},
        "macro_f1": float(f1.mean()),
        "roc_auc": _mean_over_labels(metrics.roc_auc_score, outcome),
        "average_precision": _mean_over_labels(metrics.average_precision_score, outcome),
        "mcc": _mcc(outcome),
        **_of_probabilities(outcome),
        "ece_bins": ECE_BINS,
        "labels": of_label,
        "confusion_matrix": metrics.confusion_matrix(
            outcome.truth, outcome.predicted, labels=names
        ).tolist(),
    }


def _indices(names: Sequence[str], labels: Sequence[str]) -> npt.NDArray[np.intp]:
    places = {label: place for place, label in enumerate(labels)}
    return np.array([places[name] for name in names], dtype=np.intp)


def _mcc(outcome: Outcome) -> float:
    if len({*outcome.truth, *outcome.predicted}) == 1:
        return 0.0  # as scikit-learn says, but it warns
    return float(metrics.matthews_corrcoef(outcome.truth, outcome.predicted))


def _mean_over_labels(score: Any, outcome: Outcome) -> float | None:
    ranked = outcome.ranked_labels
    if not ranked:
        return None
    return float(np.mean([score(outcome.truth_indices == k, outcome.scores[:, k]) for k in ranked]))


def _of_probabilities(outcome: Outcome) -> dict[str, float | None]:
    if outcome.probabilities is None:
        return {"loss": None, "brier": None, "ece": None}
    truth = outcome.truth_indices
    everything = list(range(len(outcome.labels)))
    return {
        "loss": float(metrics.log_loss(truth, outcome.probabilities, labels=everything)),
        "brier": float(squared_errors(truth, outcome.probabilities).mean()),
        "ece": calibration_error(truth, outcome.probabilities),
    }


def squared_errors(truth: npt.NDArray[np.intp], probabilities: Floats) -> Floats:
    """(messages,): Brier 1950; halved for two labels, as scikit-learn does."""
    errors = probabilities - np.eye(probabilities.shape[1])[truth]
    squared: Floats = (errors**2).sum(axis=1)
    return squared / 2 if probabilities.shape[1] == 2 else squared
