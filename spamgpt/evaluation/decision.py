"""What makes answers of logits, fitted to the validation split: temperature and threshold."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from spamgpt.classifier.config import ClassifierConfig
from spamgpt.evaluation.calibration import calibration_error, fit_temperature, log_losses
from spamgpt.evaluation.thresholds import (
    operating_points,
    parse_share,
    with_best_f1,
    with_ham_loss,
)


@dataclass(frozen=True)
class FittedDecision:
    """A configuration with temperature and threshold, and what they do to the messages fitted.

    `record` is for the artifact; `scores` (accuracy, loss and, with two labels, F1 and recall; the
    calibration error) are for the card.
    """

    config: ClassifierConfig
    record: dict[str, Any]
    scores: dict[str, float]


def fit_decision(
    config: ClassifierConfig,
    logits: Tensor,
    truth: npt.NDArray[np.intp],
    max_ham_loss: str | None = None,
) -> FittedDecision:
    """Fits to logits (messages, labels) of messages that were not trained on.

    `truth` is the index of each one's label. With two labels, the threshold loses at most the share
    `max_ham_loss` (`0.5%`) of those not of the positive label or, if None, has the best F1 to be
    expected.
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
            if max_ham_loss is None
            else with_ham_loss(points, parse_share(max_ham_loss))
        )
        config = replace(config, threshold=point.threshold)
        record |= {
            "threshold": point.threshold,
            "recall": point.recall,
            "ham_lost": point.ham_lost,
            "f1": point.f1,
        }
    decided = [config.labels.index(label) for label in config.decide(after)]
    scores = {
        "accuracy": float((truth == decided).mean()),
        "loss": float(log_losses(truth, after).mean()),
    }
    scores |= {name: record[name] for name in ("f1", "recall", "ece") if name in record}
    return FittedDecision(config, record, scores)
