"""The metrics of a classifier: one registry that tables, report, model card and JSON share.

The arithmetic is scikit-learn's, which is imported only where something is computed: the records
can be read without it. A new metric is one more entry of METRICS.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from spamgpt.evaluation.bootstrap import Resamples, ratio
from spamgpt.evaluation.calibration import (
    ECE_BINS,
    Floats,
    calibration_error,
    calibration_gaps,
    log_losses,
)
from spamgpt.evaluation.outcome import Outcome


@dataclass(frozen=True)
class Metric:
    """A score of a whole outcome: its key in JSON, its name for people, and how it is computed.

    `meaning` says in words what it measures, `meaning_of_many` what it is with more than two labels
    if that differs; both may name the positive label as `{positive}`. `compute` gives None where
    the messages do not allow it. `resampled` gives the scores of many resamples at once,
    (resamples,); a metric without it has no interval.

    A share (`is_share`) is shown in per cent; `from_zero_to_one` says that a bar can show the
    score. `of_positive` marks the scores of the positive label alone, which with more than two
    labels say little. With `noise_only_adds`, the scores of resamples are too high by some amount.
    """

    key: str
    name: str
    meaning: str
    compute: Callable[[Outcome], float | None]
    resampled: Callable[[Resamples], Floats | None] | None = None
    meaning_of_many: str | None = None
    higher_is_better: bool = True
    is_share: bool = False
    from_zero_to_one: bool = False
    of_positive: bool = False
    needs_probabilities: bool = False
    noise_only_adds: bool = False

    def title(self, positive_label: str) -> str:
        """The name, with the label that it is about."""
        return f"{self.name} of {positive_label}" if self.of_positive else self.name

    def explained(self, positive_label: str, labels: int) -> str:
        """What it measures, with so many labels, and which way is better unless that is plain."""
        many = self.meaning_of_many if labels > 2 else None
        text = (many or self.meaning).replace("{positive}", positive_label)
        return text if self.higher_is_better else f"{text}; less is better"

    def of(self, outcome: Outcome) -> float | None:
        """The score of an outcome, None where it has none."""
        if self.needs_probabilities and outcome.probabilities is None:
            return None
        value = self.compute(outcome)
        return None if value is None else float(value)

    def of_resamples(self, resamples: Resamples) -> Floats | None:
        """The scores of some resamples, (resamples,), None where there are none."""
        if self.resampled is None:
            return None
        if self.needs_probabilities and resamples.outcome.probabilities is None:
            return None
        return self.resampled(resamples)


def _mean_over_labels(score: Callable[..., float], outcome: Outcome) -> float | None:
    ranked = outcome.ranked_labels
    if not ranked:
        return None
    return float(np.mean([score(outcome.truth_indices == k, outcome.scores[:, k]) for k in ranked]))


def _roc_auc(outcome: Outcome) -> float | None:
    from sklearn.metrics import roc_auc_score

    return _mean_over_labels(roc_auc_score, outcome)


def _average_precision(outcome: Outcome) -> float | None:
    from sklearn.metrics import average_precision_score

    return _mean_over_labels(average_precision_score, outcome)


def _balanced_accuracy(outcome: Outcome) -> float:
    # scikit-learn's balanced_accuracy_score, which warns where a label has no message.
    found = outcome.by_label
    return float(found.recall[found.support > 0].mean())


def _resampled_balanced_accuracy(resamples: Resamples) -> Floats:
    present = resamples.outcome.by_label.support > 0
    return np.asarray(resamples.recall[:, present].mean(axis=1))


def _mcc(outcome: Outcome) -> float:
    from sklearn.metrics import matthews_corrcoef

    if len({*outcome.truth, *outcome.predicted}) == 1:
        return 0.0  # as scikit-learn says, but it warns
    return float(matthews_corrcoef(outcome.truth, outcome.predicted))


def _resampled_mcc(resamples: Resamples) -> Floats:
    """Gorodkin 2004: the correlation of K categories."""
    messages, truths, answers = resamples.messages, resamples.truths, resamples.answers
    right = resamples.hits.sum(axis=1)
    covariance = right * messages - (truths * answers).sum(axis=1)
    spread = np.sqrt(
        (messages**2 - (truths**2).sum(axis=1)) * (messages**2 - (answers**2).sum(axis=1))
    )
    return ratio(covariance, spread)


def _probabilities(outcome: Outcome) -> Floats:
    assert outcome.probabilities is not None, "a metric that needs them is not asked without"
    return outcome.probabilities


def _loss(outcome: Outcome) -> float:
    from sklearn.metrics import log_loss

    everything = list(range(len(outcome.labels)))
    return float(log_loss(outcome.truth_indices, _probabilities(outcome), labels=everything))


def squared_errors(truth: npt.NDArray[np.intp], probabilities: Floats) -> Floats:
    """(messages,): Brier 1950; halved for two labels, as scikit-learn does."""
    errors = probabilities - np.eye(probabilities.shape[1])[truth]
    squared: Floats = (errors**2).sum(axis=1)
    return squared / 2 if probabilities.shape[1] == 2 else squared


def _squared_errors(outcome: Outcome) -> Floats:
    return squared_errors(outcome.truth_indices, _probabilities(outcome))


def _gaps(outcome: Outcome) -> Floats:
    return calibration_gaps(outcome.truth_indices, _probabilities(outcome), ECE_BINS)


ACCURACY = Metric(
    "accuracy",
    "accuracy",
    "messages that got their label",
    lambda outcome: float(outcome.correct.mean()),
    lambda resamples: resamples.hits.sum(axis=1) / resamples.messages,
    is_share=True,
)
BALANCED_ACCURACY = Metric(
    "balanced_accuracy",
    "balanced accuracy",
    "mean recall of the labels",
    _balanced_accuracy,
    _resampled_balanced_accuracy,
    is_share=True,
)
PRECISION = Metric(
    "precision",
    "precision",
    "of what was called {positive}, how much was",
    lambda outcome: outcome.by_label.precision[outcome.positive_index],
    lambda resamples: resamples.precision[:, resamples.outcome.positive_index],
    is_share=True,
    of_positive=True,
)
RECALL = Metric(
    "recall",
    "recall",
    "of what was {positive}, how much was called so",
    lambda outcome: outcome.by_label.recall[outcome.positive_index],
    lambda resamples: resamples.recall[:, resamples.outcome.positive_index],
    is_share=True,
    of_positive=True,
)
F1 = Metric(
    "f1",
    "F1",
    "harmonic mean of the two",
    lambda outcome: outcome.by_label.f1[outcome.positive_index],
    lambda resamples: resamples.f1[:, resamples.outcome.positive_index],
    is_share=True,
    of_positive=True,
)
MACRO_F1 = Metric(
    "macro_f1",
    "macro F1",
    "mean F1 of the labels",
    lambda outcome: outcome.by_label.f1.mean(),
    lambda resamples: np.asarray(resamples.f1.mean(axis=1)),
    is_share=True,
)
MCC = Metric(
    "mcc",
    "Matthews correlation",
    "1 perfect, 0 no better than chance",
    _mcc,
    _resampled_mcc,
)
ROC_AUC = Metric(
    "roc_auc",
    "ROC-AUC",
    "how often a {positive} message ranks above another",
    _roc_auc,
    lambda resamples: resamples.rankings and resamples.rankings[0],
    meaning_of_many="one label against the rest, the mean of the labels",
    from_zero_to_one=True,
)
AVERAGE_PRECISION = Metric(
    "average_precision",
    "average precision",
    "area under precision and recall",
    _average_precision,
    lambda resamples: resamples.rankings and resamples.rankings[1],
    from_zero_to_one=True,
)
LOSS = Metric(
    "loss",
    "loss",
    "cross-entropy, in nats a message",
    _loss,
    lambda resamples: resamples.mean(
        log_losses(resamples.outcome.truth_indices, _probabilities(resamples.outcome))
    ),
    higher_is_better=False,
    needs_probabilities=True,
)
BRIER = Metric(
    "brier",
    "Brier score",
    "squared error of the probabilities",
    lambda outcome: _squared_errors(outcome).mean(),
    lambda resamples: resamples.mean(_squared_errors(resamples.outcome)),
    higher_is_better=False,
    needs_probabilities=True,
)
ECE = Metric(
    "ece",
    "calibration error",
    "how far probabilities are off on average",
    lambda outcome: calibration_error(outcome.truth_indices, _probabilities(outcome)),
    lambda resamples: np.asarray(np.abs(resamples.mean(_gaps(resamples.outcome))).sum(axis=1)),
    higher_is_better=False,
    needs_probabilities=True,
    noise_only_adds=True,
)

# Every metric, by its key, in the order in which they are shown.
METRICS: dict[str, Metric] = {
    metric.key: metric
    for metric in (
        ACCURACY,
        BALANCED_ACCURACY,
        PRECISION,
        RECALL,
        F1,
        MACRO_F1,
        MCC,
        ROC_AUC,
        AVERAGE_PRECISION,
        LOSS,
        BRIER,
        ECE,
    )
}


@dataclass(frozen=True)
class LabelScores:
    """The scores of one label against the rest, and how many messages have it."""

    precision: float
    recall: float
    f1: float
    messages: int


@dataclass(frozen=True)
class Scores:
    """What `compute_metrics` found: `scores[ACCURACY]` is the score of a metric.

    `values` has them by key. `confusion_matrix[i][j]` counts messages of label i that were taken
    for label j, in the order of `labels`.
    """

    messages: int
    positive_label: str
    values: Mapping[str, float | None]
    labels: Mapping[str, LabelScores]
    confusion_matrix: tuple[tuple[int, ...], ...]

    def __getitem__(self, metric: Metric) -> float | None:
        return self.values.get(metric.key)

    @property
    def accuracy(self) -> float:
        """The share of the messages that got their label."""
        return sum(row[place] for place, row in enumerate(self.confusion_matrix)) / self.messages

    @property
    def binary(self) -> bool:
        """Whether there are two labels, one of them the positive one."""
        return len(self.labels) == 2

    @property
    def negatives(self) -> int:
        """How many messages are not of the positive label."""
        return sum(
            scores.messages for label, scores in self.labels.items() if label != self.positive_label
        )

    def count(self, truth: str, predicted: str) -> int:
        """How many messages of one label were taken for another."""
        names = list(self.labels)
        return self.confusion_matrix[names.index(truth)][names.index(predicted)]


def compute_metrics(outcome: Outcome) -> Scores:
    """The score of each of METRICS, the scores of each label, and the confusion matrix.

    Precision, recall and F1 are those of the positive label, macro F1 is the mean over labels.
    ROC-AUC and average precision are of the positive of two labels, with more the mean over one
    label against the rest; None where the messages do not have all the labels. The loss is
    cross-entropy in nats a message. The Brier score is the mean squared error of the positive
    label's probability, with more labels summed over them. The calibration error is the expected
    one (`calibration_error`). The last three are None without probabilities.
    """
    from sklearn.metrics import confusion_matrix

    names = list(outcome.labels)
    found = outcome.by_label
    confusions = confusion_matrix(outcome.truth, outcome.predicted, labels=names)
    return Scores(
        messages=len(outcome.truth),
        positive_label=outcome.positive_label,
        values={key: metric.of(outcome) for key, metric in METRICS.items()},
        labels={
            label: LabelScores(
                float(found.precision[place]),
                float(found.recall[place]),
                float(found.f1[place]),
                int(found.support[place]),
            )
            for place, label in enumerate(names)
        },
        confusion_matrix=tuple(tuple(row) for row in confusions.tolist()),
    )
