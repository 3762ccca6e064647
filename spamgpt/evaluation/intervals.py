"""How sure scores are: a bootstrap over the messages, the intervals of shares, and McNemar's test.

The scores of many resamples are computed at once, by the vectorised forms of the metrics.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from spamgpt.evaluation.bootstrap import draw
from spamgpt.evaluation.calibration import Floats
from spamgpt.evaluation.metrics import METRICS, Metric, Scores
from spamgpt.evaluation.outcome import Outcome

Interval = tuple[float, float]

LEVEL = 0.95
RESAMPLES = 1000
SEED = 123


@dataclass(frozen=True)
class ResampledLabel:
    """The scores of one label in every resample, (resamples,) each."""

    precision: Floats
    recall: Floats
    f1: Floats


@dataclass(frozen=True)
class ResampledScores:
    """The scores of every resample, (resamples,) each: by the metrics' keys, and of each label."""

    values: Mapping[str, Floats]
    labels: Mapping[str, ResampledLabel]
    resamples: int


@dataclass(frozen=True)
class LabelIntervals:
    """The intervals of the scores of one label."""

    precision: Interval
    recall: Interval
    f1: Interval


@dataclass(frozen=True)
class Intervals:
    """The intervals of scores; `intervals[ACCURACY]` is that of a metric, None if it has none."""

    level: float
    seed: int
    resamples: int
    values: Mapping[str, Interval | None]
    labels: Mapping[str, LabelIntervals]

    def __getitem__(self, metric: Metric) -> Interval | None:
        return self.values.get(metric.key)


@dataclass(frozen=True)
class Difference:
    """How far a classifier is ahead of another model in one score."""

    value: float
    interval: Interval


@dataclass(frozen=True)
class McNemar:
    """McNemar's test: the messages that only one of two models got right.

    `p_value` is the probability that equally good models differ at least this much.
    """

    only_first: int
    only_second: int
    p_value: float

    @property
    def significant(self) -> bool:
        """Whether the difference in accuracy is more than chance explains.

        This is the one test that decides it: the interval of a difference is there to show its size
        and, with few messages that only one got right, may leave out 0 where the test does not.
        """
        return self.p_value < 1 - LEVEL


def resample(outcome: Outcome, resamples: int = RESAMPLES, seed: int = SEED) -> ResampledScores:
    """The scores on `resamples` draws of as many messages, with replacement, from each label.

    Drawn within each label: how many messages of a label there are was chosen when the data was
    split, so it does not vary, and no score lacks a label. The draws depend on the seed and the
    true labels only: two classifiers on the same messages get the same, for paired differences.
    """
    values: dict[str, list[Floats]] = {}
    labels: list[tuple[Floats, Floats, Floats]] = []
    for part in draw(outcome, resamples, seed):
        for key, metric in METRICS.items():
            scores = metric.of_resamples(part)
            if scores is not None:
                values.setdefault(key, []).append(scores)
        labels.append((part.precision, part.recall, part.f1))
    of_label = [np.concatenate(parts) for parts in zip(*labels, strict=True)]
    return ResampledScores(
        {key: np.concatenate(parts) for key, parts in values.items()},
        {
            label: ResampledLabel(*(scores[:, place] for scores in of_label))
            for place, label in enumerate(outcome.labels)
        },
        resamples,
    )


def intervals(scores: Scores, resampled: ResampledScores) -> Intervals:
    """The percentile intervals of the scores.

    Noise only adds to a calibration error, so resamples of it are too high by some amount; they are
    moved so that their mean is what was measured. A score without any mistake gets an interval of
    no width: resamples of no mistakes hold none.
    """
    return Intervals(
        LEVEL,
        SEED,
        resampled.resamples,
        {key: _interval_of(metric, scores, resampled) for key, metric in METRICS.items()},
        {
            label: LabelIntervals(
                interval(drawn.precision), interval(drawn.recall), interval(drawn.f1)
            )
            for label, drawn in resampled.labels.items()
        },
    )


def _interval_of(metric: Metric, scores: Scores, resampled: ResampledScores) -> Interval | None:
    value, drawn = scores[metric], resampled.values.get(metric.key)
    if value is None or drawn is None:
        return None
    if metric.noise_only_adds:
        drawn = np.maximum(drawn - drawn.mean() + value, 0)
    return interval(drawn)


def differences(
    ours: Scores, resampled: ResampledScores, theirs: Scores, theirs_resampled: ResampledScores
) -> dict[str, Difference]:
    """How far a classifier is ahead of another on the same messages, by the metrics' keys."""
    found = {}
    for key, metric in METRICS.items():
        value, other = ours[metric], theirs[metric]
        drawn, other_drawn = resampled.values.get(key), theirs_resampled.values.get(key)
        if value is None or other is None or drawn is None or other_drawn is None:
            continue
        found[key] = Difference(value - other, interval(drawn - other_drawn))
    return found


def interval(values: Floats) -> Interval:
    """The range of the middle LEVEL of the values."""
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)


def wilson_interval(count: int, of: int) -> Interval | None:
    """The interval of a share, honest also at 0 and 1 (Wilson 1927); None of nothing."""
    if not of:
        return None
    z = NormalDist().inv_cdf((1 + LEVEL) / 2)
    middle = (count + z**2 / 2) / (of + z**2)
    half = z / (of + z**2) * (count * (of - count) / of + z**2 / 4) ** 0.5
    return (middle - half if count else 0.0, middle + half if count < of else 1.0)


def mcnemar(correct: npt.NDArray[np.bool_], other: npt.NDArray[np.bool_]) -> McNemar:
    """McNemar's test (1947) of two classifiers on the same messages, exact for any number of them.

    Takes which messages (messages,) each got right. If they were equally good, each message that
    only one of them got right would be either's with probability 1/2.
    """
    from scipy.stats import binomtest

    first, second = int((correct & ~other).sum()), int((other & ~correct).sum())
    p = float(binomtest(first, first + second).pvalue) if first + second else 1.0
    return McNemar(first, second, p)
