"""What a report says of an evaluation: its tables and sentences, without a word of HTML."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from spamgpt.evaluation.intervals import Difference, Interval
from spamgpt.evaluation.label_errors import Suspect
from spamgpt.evaluation.metrics import (
    ACCURACY,
    ECE,
    MACRO_F1,
    METRICS,
    PRECISION,
    RECALL,
    ROC_AUC,
    Metric,
    Scores,
)
from spamgpt.evaluation.report import numbers, sentences
from spamgpt.evaluation.report.record import Report
from spamgpt.evaluation.slices import Slice

if TYPE_CHECKING:
    pass

SUSPECTS_SHOWN = 10

# The scores told first, and those by which simpler models are compared.
_KEY_FIGURES = (ACCURACY, PRECISION, RECALL, ROC_AUC, ECE)
_KEY_FIGURES_OF_MANY = (ACCURACY, MACRO_F1, ROC_AUC, ECE)
_BASELINE_COLUMNS = (ACCURACY, PRECISION, RECALL, MACRO_F1)


@dataclass(frozen=True)
class ScoreRow:
    """A score with its interval; `has_bar` says that it lies between 0 and 1."""

    name: str
    meaning: str
    value: float | None
    interval: Interval | None
    shown: str
    interval_shown: str
    has_bar: bool


@dataclass(frozen=True)
class LabelRow:
    """A label's precision, recall and F1, each with its interval."""

    label: str
    messages: int
    cells: Sequence[tuple[float, Interval]]


@dataclass(frozen=True)
class ConfusionCell:
    """How many of a label's messages got a label, also as a share of them."""

    count: int
    share: float
    right: bool


@dataclass(frozen=True)
class ConfusionRow:
    """What the messages of a label were taken for."""

    label: str
    cells: Sequence[ConfusionCell]


@dataclass(frozen=True)
class PointRow:
    """What can be caught at a limit to what is lost."""

    name: str
    threshold: str
    recall: float
    interval: Interval | None
    lost: str
    lost_interval: Interval | None


@dataclass(frozen=True)
class SliceRow:
    """The scores of one kind of messages."""

    name: str
    messages: int
    accuracy: float
    interval: Interval | None
    f1: float | None
    worst: bool


@dataclass(frozen=True)
class BaselineRow:
    """A model's scores, and how far the classifier is ahead in accuracy; None in its own row."""

    name: str
    cells: Sequence[float | None]
    difference: Difference | None


@dataclass(frozen=True)
class Content:
    """Everything that the page says, in its order."""

    title: str
    messages: int
    split: str
    verdict: sentences.Verdict
    cautions: Sequence[sentences.Caution]
    key_figures: Sequence[ScoreRow]
    interval_note: str
    scores: Sequence[ScoreRow]
    label_rows: Sequence[LabelRow]
    confusion: Sequence[ConfusionRow]
    threshold: float | None
    point_rows: Sequence[PointRow]
    point_note: str
    calibration_note: str
    worst_slice: str
    slice_groups: Sequence[Sequence[SliceRow]]
    baseline_note: str
    baseline_columns: Sequence[str]
    baseline_rows: Sequence[BaselineRow]
    mistakes_note: str
    explanation_note: str
    suspects_note: str
    suspects: Sequence[Suspect]
    captions: sentences.Captions


def content_of(report: Report) -> Content:
    """What is said of an evaluation."""
    evaluation = report.evaluation
    wanted = _KEY_FIGURES if report.scores.binary else _KEY_FIGURES_OF_MANY
    return Content(
        title=f"{report.classifier} on the {evaluation.split} split",
        messages=report.scores.messages,
        split=evaluation.split,
        verdict=sentences.verdict(report),
        cautions=sentences.cautions(report),
        key_figures=[_score_row(report, metric) for metric in wanted],
        interval_note=sentences.interval_note(report),
        scores=[
            _score_row(report, metric)
            for metric in METRICS.values()
            # The roles of one label among several are in the table of labels.
            if report.scores.binary or not metric.of_positive
        ],
        label_rows=_label_rows(report),
        confusion=_confusion(report),
        threshold=evaluation.threshold,
        point_rows=_point_rows(report),
        point_note=sentences.point_note(report),
        calibration_note=sentences.calibration_note(report),
        worst_slice=sentences.worst_slice(report),
        slice_groups=_slice_groups(report),
        baseline_note=sentences.baseline_note(report),
        baseline_columns=[metric.name for metric in _BASELINE_COLUMNS],
        baseline_rows=_baseline_rows(report),
        mistakes_note=sentences.mistakes_note(report),
        explanation_note=sentences.explanation_note(report),
        suspects_note=sentences.suspects_note(report, SUSPECTS_SHOWN),
        suspects=report.label_check.suspects[:SUSPECTS_SHOWN],
        captions=sentences.captions(report),
    )


def _score_row(report: Report, metric: Metric) -> ScoreRow:
    value, interval = report.scores[metric], report.evaluation.intervals[metric]
    return ScoreRow(
        name=metric.title(report.positive_label),
        meaning=metric.explained(report.positive_label, len(report.labels)),
        value=value,
        interval=interval,
        shown=numbers.score(metric, value),
        interval_shown=numbers.score_interval(metric, interval),
        has_bar=metric.is_share or metric.from_zero_to_one,
    )


def _label_rows(report: Report) -> list[LabelRow]:
    rows = []
    for label, scores in report.scores.labels.items():
        around = report.evaluation.intervals.labels[label]
        cells = [
            (scores.precision, around.precision),
            (scores.recall, around.recall),
            (scores.f1, around.f1),
        ]
        rows.append(LabelRow(label, scores.messages, cells))
    return rows


def _confusion(report: Report) -> list[ConfusionRow]:
    rows = []
    for i, counts in enumerate(report.scores.confusion_matrix):
        total = max(sum(counts), 1)
        cells = [ConfusionCell(count, count / total, i == j) for j, count in enumerate(counts)]
        rows.append(ConfusionRow(report.labels[i], cells))
    return rows


def _point_rows(report: Report) -> list[PointRow]:
    return [
        PointRow(
            name=f"at most {sentences.limit(point)}",
            threshold=numbers.threshold(point.threshold),
            recall=point.recall,
            interval=point.recall_interval,
            lost=f"{point.false_positives:,} of {report.scores.negatives:,}",
            lost_interval=point.false_positive_interval,
        )
        for point in report.evaluation.operating_points
    ]


def _slice_groups(report: Report) -> list[list[SliceRow]]:
    worst = report.evaluation.worst_slice
    groups: dict[str, list[SliceRow]] = {}
    for each in report.evaluation.slices:
        groups.setdefault(each.slice, []).append(_slice_row(each, each == worst))
    return list(groups.values())


def _slice_row(each: Slice, worst: bool) -> SliceRow:
    name = sentences.kind(each)
    return SliceRow(name, each.messages, each.accuracy, each.interval, each.f1, worst)


def _baseline_rows(report: Report) -> list[BaselineRow]:
    if not report.evaluation.baselines:
        return []

    def row(name: str, scores: Scores, difference: Difference | None) -> BaselineRow:
        return BaselineRow(name, [scores[metric] for metric in _BASELINE_COLUMNS], difference)

    return [
        row(report.classifier, report.scores, None),
        *(
            row(baseline.name, baseline.scores, baseline.differences[ACCURACY.key])
            for baseline in report.evaluation.baselines
        ),
    ]
