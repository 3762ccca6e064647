"""How sure scores are: a bootstrap over the messages, and the intervals of shares.

The scores of many resamples are computed at once; they are defined as in metrics.py.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from spamgpt.evaluation.calibration import ECE_BINS, Floats, calibration_gaps, log_losses
from spamgpt.evaluation.metrics import (
    OF_A_LABEL,
    SCALARS,
    Outcome,
    squared_errors,
)

Interval = list[float]

LEVEL = 0.95
RESAMPLES = 1000
SEED = 123

# Weights that are held at once, in numbers: 64 MiB.
_AT_ONCE = 2**23


@dataclass(frozen=True)
class Resamples:
    """The scores of every resample, (resamples,) each: the SCALARS there are, and each label's."""

    scalars: Mapping[str, Floats]
    labels: Mapping[str, Mapping[str, Floats]]


def resample(outcome: Outcome, resamples: int = RESAMPLES, seed: int = SEED) -> Resamples:
    """The scores on `resamples` draws of as many messages, with replacement, from each label.

    Drawn within each label: how many messages of a label there are was chosen when the data was
    split, so it does not vary, and no score lacks a label. The draws depend on the seed and the
    true labels only: two classifiers on the same messages get the same, for paired differences.
    """
    statistics = _Statistics.of(outcome)
    parts = [statistics.scores(weights) for weights in _draws(outcome, resamples, seed)]
    scores = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    of_label = {name: scores.pop(f"labels_{name}") for name in OF_A_LABEL}
    return Resamples(
        scores,
        {
            label: {name: values[:, index] for name, values in of_label.items()}
            for index, label in enumerate(outcome.labels)
        },
    )


def intervals(measured: Mapping[str, Any], resamples: Resamples) -> dict[str, Any]:
    """The percentile intervals of the scores, under the same names; None where there is none.

    Noise only adds to a calibration error, so resamples of it are too high by some amount; they are
    moved so that their mean is what was measured. A score without any mistake gets an interval of
    no width: resamples of no mistakes hold none.
    """
    found: dict[str, Any] = {"level": LEVEL, "seed": SEED}
    for name in SCALARS:
        values = resamples.scalars.get(name)
        if values is None:
            found[name] = None
            continue
        found["resamples"] = len(values)
        if name == "ece":
            values = np.maximum(values - values.mean() + measured[name], 0)
        found[name] = interval(values)
    found["labels"] = {
        label: {name: interval(values) for name, values in scores.items()}
        for label, scores in resamples.labels.items()
    }
    return found


def differences(
    measured: Mapping[str, Any],
    resamples: Resamples,
    other: Mapping[str, Any],
    other_resamples: Resamples,
) -> dict[str, dict[str, Any]]:
    """How far a classifier is ahead of another on the same messages: each score, its interval."""
    return {
        name: {
            "value": measured[name] - other[name],
            "interval": interval(resamples.scalars[name] - other_resamples.scalars[name]),
        }
        for name in SCALARS
        if name in resamples.scalars and name in other_resamples.scalars
    }


def interval(values: Floats) -> Interval:
    """The range of the middle LEVEL of the values."""
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return [float(low), float(high)]


def wilson_interval(count: int, of: int) -> Interval | None:
    """The interval of a share, honest also at 0 and 1 (Wilson 1927); None of nothing."""
    from scipy.stats import binomtest

    if not of:
        return None
    found = binomtest(count, of).proportion_ci(LEVEL, method="wilson")
    return [float(found.low), float(found.high)]


def mcnemar(correct: npt.NDArray[np.bool_], other: npt.NDArray[np.bool_]) -> dict[str, Any]:
    """McNemar's test (1947) of two classifiers on the same messages, exact for any number of them.

    `only_first` and `only_second` count the messages that only one of them got right; if they were
    equally good, each such message would be either's with probability 1/2.
    """
    from scipy.stats import binomtest

    first, second = int((correct & ~other).sum()), int((other & ~correct).sum())
    p = float(binomtest(first, first + second).pvalue) if first + second else 1.0
    return {"only_first": first, "only_second": second, "p_value": p}


def _draws(outcome: Outcome, resamples: int, seed: int) -> Iterator[Floats]:
    """Yields (some resamples, messages): how often each message is in each resample."""
    generator = np.random.default_rng(seed)
    messages = len(outcome.truth)
    members = [
        np.flatnonzero(outcome.truth_indices == label) for label in range(len(outcome.labels))
    ]
    step = max(1, _AT_ONCE // messages)
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        weights = np.zeros((rows, messages))
        for indices in members:
            if not len(indices):
                continue
            drawn = generator.integers(len(indices), size=(rows, len(indices)))
            drawn += len(indices) * np.arange(rows)[:, None]
            counts = np.bincount(drawn.ravel(), minlength=rows * len(indices))
            weights[:, indices] = counts.reshape(rows, len(indices))
        yield weights


@dataclass(frozen=True)
class _Ranking:
    """The messages in the order of a label's score, the likeliest first; ties form a group."""

    order: npt.NDArray[np.intp]
    is_positive: npt.NDArray[np.bool_]
    group_ends: npt.NDArray[np.intp]

    @classmethod
    def of(cls, outcome: Outcome, label: int) -> "_Ranking":
        scores = outcome.scores[:, label]
        order = np.argsort(-scores, kind="stable")
        ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
        return cls(order, (outcome.truth_indices == label)[order], ends)

    def scores(self, weights: Floats) -> tuple[Floats, Floats]:
        """(resamples,) each: the area under the ROC curve, and the average precision."""
        ordered = weights[:, self.order]
        positives = np.cumsum(ordered * self.is_positive, axis=1)[:, self.group_ends]
        negatives = np.cumsum(ordered * ~self.is_positive, axis=1)[:, self.group_ends]
        new_positives = np.diff(positives, axis=1, prepend=0)
        new_negatives = np.diff(negatives, axis=1, prepend=0)
        pairs = positives[:, -1] * negatives[:, -1]
        auc = (new_negatives * (positives - new_positives / 2)).sum(axis=1) / pairs
        # Precision where nothing was drawn yet is multiplied by no new positives.
        precision = positives / np.maximum(positives + negatives, 1)
        return auc, (new_positives * precision).sum(axis=1) / positives[:, -1]


@dataclass(frozen=True)
class _Statistics:
    """Everything that scores of a resample are made of; what is a sum is a column of `columns`."""

    columns: Floats
    labels: int
    positive: int
    present: npt.NDArray[np.bool_]
    rankings: list[_Ranking]
    has_probabilities: bool

    @classmethod
    def of(cls, outcome: Outcome) -> "_Statistics":
        truth, labels = outcome.truth_indices, len(outcome.labels)
        is_truth = np.eye(labels)[truth]
        is_answer = np.eye(labels)[outcome.predicted_indices]
        columns = [is_truth * is_answer, is_truth, is_answer]
        if outcome.probabilities is not None:
            columns += [
                log_losses(truth, outcome.probabilities)[:, None],
                squared_errors(truth, outcome.probabilities)[:, None],
                calibration_gaps(truth, outcome.probabilities, ECE_BINS),
            ]
        return cls(
            np.concatenate(columns, axis=1),
            labels,
            list(outcome.labels).index(outcome.positive_label),
            np.bincount(truth, minlength=labels) > 0,
            [_Ranking.of(outcome, label) for label in outcome.ranked_labels],
            outcome.probabilities is not None,
        )

    def scores(self, weights: Floats) -> dict[str, Floats]:
        """The scores of each row of weights, (resamples,); `labels_...` are (resamples, labels)."""
        messages = weights.sum(axis=1)
        sums = weights @ self.columns
        cuts = [self.labels, 2 * self.labels, 3 * self.labels]
        hits, truths, answers, others = np.split(sums, cuts, axis=1)
        precision = _ratio(hits, answers)
        recall = _ratio(hits, truths)
        f1 = _ratio(2 * hits, truths + answers)
        right = hits.sum(axis=1)
        # Gorodkin 2004: the correlation of K categories.
        covariance = right * messages - (truths * answers).sum(axis=1)
        spread = np.sqrt(
            (messages**2 - (truths**2).sum(axis=1)) * (messages**2 - (answers**2).sum(axis=1))
        )
        found = {
            "accuracy": right / messages,
            "balanced_accuracy": recall[:, self.present].mean(axis=1),
            "precision": precision[:, self.positive],
            "recall": recall[:, self.positive],
            "f1": f1[:, self.positive],
            "macro_f1": f1.mean(axis=1),
            "mcc": _ratio(covariance, spread),
            "labels_precision": precision,
            "labels_recall": recall,
            "labels_f1": f1,
        }
        if self.rankings:
            auc, precision_at = zip(*(r.scores(weights) for r in self.rankings), strict=True)
            found["roc_auc"] = np.mean(auc, axis=0)
            found["average_precision"] = np.mean(precision_at, axis=0)
        if self.has_probabilities:
            found["loss"] = others[:, 0] / messages
            found["brier"] = others[:, 1] / messages
            found["ece"] = np.abs(others[:, 2:]).sum(axis=1) / messages
        return found


def _ratio(part: Floats, whole: Floats) -> Floats:
    """Zero where the whole is."""
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
