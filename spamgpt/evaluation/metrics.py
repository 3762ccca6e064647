"""The scores of a classifier on messages with known labels; the arithmetic is scikit-learn's."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn import metrics


def measure(
    truth: Sequence[str],
    predicted: Sequence[str],
    probabilities: npt.NDArray[np.float64],
    labels: Sequence[str],
    positive_label: str,
) -> dict[str, Any]:
    """Loss, accuracy, ROC-AUC, the scores of each label, and the confusion matrix.

    `probabilities` is (messages, labels). `precision`, `recall` and `f1` at the top are those of
    `positive_label`. With more than two labels ROC-AUC is the mean over one label against the rest.
    It is None where the messages do not have all the labels. `loss` is cross-entropy in nats a
    message. `confusion_matrix[i][j]` counts messages of label i that were taken for label j.
    """
    names = list(labels)
    precision, recall, f1, support = metrics.precision_recall_fscore_support(
        truth, predicted, labels=names, zero_division=0.0
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
    positive = {key: value for key, value in of_label[positive_label].items() if key != "messages"}
    return {
        "messages": len(truth),
        "loss": float(metrics.log_loss(truth, probabilities, labels=names)),
        "accuracy": float(metrics.accuracy_score(truth, predicted)),
        "positive_label": positive_label,
        **positive,
        "roc_auc": _roc_auc(truth, probabilities, names, positive_label),
        "labels": of_label,
        "confusion_matrix": metrics.confusion_matrix(truth, predicted, labels=names).tolist(),
    }


def _roc_auc(
    truth: Sequence[str],
    probabilities: npt.NDArray[np.float64],
    labels: list[str],
    positive_label: str,
) -> float | None:
    if set(truth) != set(labels):
        return None
    if len(labels) > 2:
        return float(metrics.roc_auc_score(truth, probabilities, multi_class="ovr", labels=labels))
    is_positive = [label == positive_label for label in truth]
    return float(metrics.roc_auc_score(is_positive, probabilities[:, labels.index(positive_label)]))
