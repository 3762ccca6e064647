"""What makes answers of logits, fitted to the validation split: temperature and threshold."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from spamgpt.evaluation.calibration import (
    Floats,
    calibration_error,
    fit_temperature,
    log_losses,
)
from spamgpt.evaluation.goals import MAX_FALSE_POSITIVE_RATE, ThresholdGoal
from spamgpt.evaluation.intervals import wilson_interval
from spamgpt.evaluation.metrics import ACCURACY, ECE, F1, LOSS, RECALL
from spamgpt.evaluation.thresholds import (
    allowed_false_positives,
    at_threshold,
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
    threshold_for: ThresholdGoal = "false-positive-rate",
    max_false_positive_rate: str = MAX_FALSE_POSITIVE_RATE,
) -> FittedDecision:
    """Fits to logits (messages, labels) of messages that were not trained on.

    `truth` (messages,) is the index of each one's label. With two labels a threshold is chosen for
    a goal. For "false-positive-rate" it gives the positive label to at most a share
    `max_false_positive_rate` (`0.5%` or `0.005`) of the messages of the other label. Raises
    UsageError for what is not a share.
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
        found = _choose_threshold(
            truth == positive, after[:, positive], threshold_for, max_false_positive_rate
        )
        config = replace(config, threshold=found["threshold"])
        record |= {
            "positive_label": config.positive_label,
            "other_label": config.labels[1 - positive],
            **found,
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


def _choose_threshold(
    is_positive: npt.NDArray[np.bool_], scores: Floats, goal: ThresholdGoal, most: str
) -> dict[str, Any]:
    """The threshold that a goal asks for, and what it does to messages with these scores."""
    points = operating_points(is_positive, scores)
    allowed = None
    if goal == "false-positive-rate":
        point = with_false_positive_rate(points, parse_share(most))
        allowed = allowed_false_positives(point.negatives, parse_share(most))
    elif goal == "f1":
        point = with_best_f1(points, scores)
    else:
        point = at_threshold(points, scores, 0.5)
    return {
        "threshold": point.threshold,
        "threshold_for": goal,
        "max_false_positive_rate": None if allowed is None else most,
        "recall": point.recall,
        "false_positive_rate": point.false_positive_rate,
        "false_positives": point.false_positives,
        "others": point.negatives,
        "allowed": allowed,
        "false_positive_interval": wilson_interval(point.false_positives, point.negatives),
        "f1": point.f1,
    }
