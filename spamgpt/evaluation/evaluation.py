"""The evaluation of a classifier on labelled messages: one typed record, kept as metrics.json.

Tables, report and JSON read this; nothing here knows files or screens.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from spamgpt.errors import BadDataError
from spamgpt.evaluation.calibration import ECE_BINS
from spamgpt.evaluation.intervals import (
    Difference,
    Interval,
    Intervals,
    LabelIntervals,
    McNemar,
    intervals,
    resample,
)
from spamgpt.evaluation.metrics import METRICS, LabelScores, Scores, compute_metrics
from spamgpt.evaluation.outcome import Outcome
from spamgpt.evaluation.records import from_plain, to_plain
from spamgpt.evaluation.slices import FEWEST, Slice, slices, worst
from spamgpt.evaluation.thresholds import PointAtLimit, operating_points, points_at_limits


@dataclass(frozen=True)
class Baseline:
    """The scores of a simple model on the same messages, and how far the classifier is ahead.

    `differences` are by the keys of the metrics; `mcnemar` has the classifier first.
    """

    name: str
    scores: Scores
    intervals: Intervals
    differences: Mapping[str, Difference]
    mcnemar: McNemar


@dataclass(frozen=True)
class Evaluation:
    """Everything that was measured of a classifier on a split.

    `threshold` and `operating_points` are of two labels only. `seen_in_training` counts the
    messages that the classifier was trained on, None if it keeps no record of them. `baselines` is
    None where none were asked for.
    """

    split: str
    threshold: float | None
    temperature: float
    scores: Scores
    intervals: Intervals
    operating_points: tuple[PointAtLimit, ...]
    slices: tuple[Slice, ...]
    seen_in_training: int | None
    baselines: tuple[Baseline, ...] | None = None

    @classmethod
    def of(
        cls,
        outcome: Outcome,
        texts: Sequence[str],
        sources: Sequence[str] | None = None,
        *,
        split: str,
        threshold: float | None,
        temperature: float,
        seen_in_training: int | None,
        baselines: tuple[Baseline, ...] | None = None,
    ) -> "Evaluation":
        """Scores the answers to `texts`, which came from `sources` if that is known."""
        scores = compute_metrics(outcome)
        points: tuple[PointAtLimit, ...] = ()
        if scores.binary:
            positive = outcome.positive_index
            points = points_at_limits(
                operating_points(outcome.truth_indices == positive, outcome.scores[:, positive])
            )
        return cls(
            split=split,
            threshold=threshold if scores.binary else None,
            temperature=temperature,
            scores=scores,
            intervals=intervals(scores, resample(outcome)),
            operating_points=points,
            slices=slices(texts, outcome, sources),
            seen_in_training=seen_in_training,
            baselines=baselines,
        )

    @property
    def worst_slice(self) -> Slice | None:
        """The slice of the lowest accuracy, of those with enough messages to say so."""
        return worst(self.slices)

    def to_dict(self) -> dict[str, Any]:
        """The content of metrics.json: plain values; the scores stand at the top, by their keys."""
        told = {} if self.baselines is None else {"baselines": list(map(_plain, self.baselines))}
        return {
            "split": self.split,
            "threshold": self.threshold,
            "temperature": self.temperature,
            **scores_to_dict(self.scores, self.intervals),
            "operating_points": to_plain(self.operating_points),
            "slices": to_plain(self.slices),
            "worst_slice": to_plain(self.worst_slice),
            "fewest_in_worst_slice": FEWEST,
            "seen_in_training": self.seen_in_training,
            **told,
        }

    @classmethod
    def from_dict(cls, content: Any, source: str = "The evaluation") -> "Evaluation":
        """Reads what `to_dict` wrote; a metric that was not computed then is None.

        `source` names it in the BadDataError that is raised for what is no evaluation.
        """
        try:
            return cls._read(content)
        except ValueError as error:
            raise BadDataError(
                f"{source} is not an evaluation that this spamgpt can read: {error}.",
                "Make it again: spamgpt evaluate",
            ) from error

    @classmethod
    def _read(cls, content: Any) -> "Evaluation":
        if not isinstance(content, Mapping):
            raise ValueError(f"it cannot be {content!r:.50}")
        _require(content, "split", "threshold", "temperature", "operating_points", "slices")
        _require(content, "seen_in_training")
        scores, found = _scores_from_dict(content)
        theirs = from_plain(tuple[Any, ...] | None, content.get("baselines"), "baselines")
        return cls(
            split=from_plain(str, content["split"], "split"),
            threshold=from_plain(float | None, content["threshold"], "threshold"),
            temperature=from_plain(float, content["temperature"], "temperature"),
            scores=scores,
            intervals=found,
            operating_points=from_plain(
                tuple[PointAtLimit, ...], content["operating_points"], "operating_points"
            ),
            slices=from_plain(tuple[Slice, ...], content["slices"], "slices"),
            seen_in_training=from_plain(
                int | None, content["seen_in_training"], "seen_in_training"
            ),
            baselines=None if theirs is None else tuple(map(_read_baseline, theirs)),
        )


def scores_to_dict(scores: Scores, found: Intervals) -> dict[str, Any]:
    """The scores of one model by their keys, and their intervals by the same under `intervals`."""
    return {
        "messages": scores.messages,
        "positive_label": scores.positive_label,
        **scores.values,
        "ece_bins": ECE_BINS,
        "labels": to_plain(scores.labels),
        "confusion_matrix": to_plain(scores.confusion_matrix),
        "intervals": {
            "level": found.level,
            "seed": found.seed,
            "resamples": found.resamples,
            **to_plain(found.values),
            "labels": to_plain(found.labels),
        },
    }


def _scores_from_dict(content: Mapping[str, Any]) -> tuple[Scores, Intervals]:
    _require(content, "messages", "positive_label", "labels", "confusion_matrix", "intervals")
    _require(content, "accuracy")
    around = from_plain(Mapping[str, Any], content["intervals"], "intervals")
    _require(around, "level", "seed", "resamples", "labels")
    scores = Scores(
        from_plain(int, content["messages"], "messages"),
        from_plain(str, content["positive_label"], "positive_label"),
        {key: from_plain(float | None, content.get(key), key) for key in METRICS},
        from_plain(Mapping[str, LabelScores], content["labels"], "labels"),
        from_plain(tuple[tuple[int, ...], ...], content["confusion_matrix"], "confusion_matrix"),
    )
    return scores, Intervals(
        from_plain(float, around["level"], "level"),
        from_plain(int, around["seed"], "seed"),
        from_plain(int, around["resamples"], "resamples"),
        {key: from_plain(Interval | None, around.get(key), key) for key in METRICS},
        from_plain(Mapping[str, LabelIntervals], around["labels"], "labels"),
    )


def _plain(baseline: Baseline) -> dict[str, Any]:
    return {
        "name": baseline.name,
        **scores_to_dict(baseline.scores, baseline.intervals),
        "difference": to_plain(baseline.differences),
        "mcnemar": to_plain(baseline.mcnemar),
    }


def _read_baseline(content: Any) -> Baseline:
    if not isinstance(content, Mapping):
        raise ValueError(f"a baseline cannot be {content!r:.50}")
    _require(content, "name", "difference", "mcnemar")
    return Baseline(
        from_plain(str, content["name"], "name"),
        *_scores_from_dict(content),
        from_plain(Mapping[str, Difference], content["difference"], "difference"),
        from_plain(McNemar, content["mcnemar"], "mcnemar"),
    )


def _require(content: Mapping[str, Any], *names: str) -> None:
    if missing := [name for name in names if name not in content]:
        raise ValueError(f"it has no {', '.join(missing)}")
