"""What makes answers of logits, fitted to the validation split: temperature and threshold."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from spamgpt.evaluation.calibration import calibration_error, fit_temperature, log_losses
from spamgpt.evaluation.metrics import ACCURACY, ECE, F1, LOSS, RECALL
from spamgpt.evaluation.thresholds import (
    operating_points,
    parse_share,
    with_best_f1,
    with_false_positive_rate,
)

if TYPE_CHECKING:
    from spamgpt.classifier.config import ClassifierConfig


@dataclass(frozen=True)
class FittedDecision:
    """A configuration with temperature and threshold, and what they do to the messages fitted.

    `record` is for the artifact; `scores`, by the keys of the metrics (accuracy, loss and, with two
    labels, F1 and recall; the calibration error), are for the card.
    """

    config: "ClassifierConfig"
    record: dict[str, Any]
    scores: dict[str, float]


def fit_decision(
    config: "ClassifierConfig",
    logits: Tensor,
    truth: npt.NDArray[np.intp],
    max_false_positive_rate: str | None = None,
) -> FittedDecision:
    """Fits to logits (messages, labels) of messages that were not trained on.

    `truth` (messages,) is the index of each one's label. With two labels, the threshold has at most
    `max_false_positive_rate` (`0.5%` or `0.005`), which is the share of messages not of the
    positive label that get it, or, if that is None, the best F1 to be expected. Raises UsageError
    for what is not a share.
    """
    before = config.probabilities(logits)
    config = replace(config, temperature=fit_temperature(logits.double().numpy(), truth))
    after = config.probabilities(logits)
    record: dict[str, Any] = {
        "temperature": config.temperature,
        "ece_before": calibration_error(truth, before),
        "ece": calibration_error(truth, after),
    }
    if len(config.labels) == 2:
        positive = config.labels.index(config.positive_label)
        points = operating_points(truth == positive, after[:, positive])
        point = (
            with_best_f1(points, after[:, positive])
            if max_false_positive_rate is None
            else with_false_positive_rate(points, parse_share(max_false_positive_rate))
        )
        config = replace(config, threshold=point.threshold)
        record |= {
            "threshold": point.threshold,
            "recall": point.recall,
            "false_positive_rate": point.false_positive_rate,
            "f1": point.f1,
        }
    # Not by the registry, whose F1 and loss import scikit-learn: that takes half a second.
    decided = [config.labels.index(label) for label in config.decide(after)]
    scores = {
        ACCURACY.key: float((truth == decided).mean()),
        LOSS.key: float(log_losses(truth, after).mean()),
    }
    scores |= {
        metric.key: record[metric.key] for metric in (F1, RECALL, ECE) if metric.key in record
    }
    return FittedDecision(config, record, scores)
