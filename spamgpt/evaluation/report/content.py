"""report.html: an evaluation as one page for people, with nothing outside it.

Everything on the page that comes from messages, labels, names or settings is escaped and printable.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from spamgpt.evaluation.label_errors import Suspect

if TYPE_CHECKING:
    import pandas as pd
    from jinja2 import Environment
    from markupsafe import Markup

REPORT_FILE = "report.html"
MISTAKES_SHOWN = 12
_SUSPECTS_SHOWN = 10
_CHARACTERS_SHOWN = 480

Pair = Sequence[float] | None


@dataclass(frozen=True)
class Highlight:
    """Characters `start` to `end` of a message, and how much they drove its answer.

    A positive weight spoke for the answer given, a negative one against it; only their proportions
    within a message matter.
    """

    start: int
    end: int
    weight: float


@dataclass(frozen=True)
class Mistake:
    """A message that got the wrong label, and the probability with which it did."""

    text: str
    truth: str
    predicted: str
    probability: float
    highlights: Sequence[Highlight] = ()


@dataclass(frozen=True)
class LineageStep:
    """One artifact that a classifier stands on."""

    stage: str
    artifact: str
    digest: str
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class Report:
    """What the page shows.

    `classifier` and `prepared` are references, `metrics` is the content of metrics.json, `truth`
    the label of each message and `probabilities` (messages, labels), in the order of
    `metrics["labels"]`. `mistakes` are the surest ones; `explained_by` says in a sentence how their
    highlights were found. `suspects` None means that labels could not be checked. `history` has the
    columns of `EpochRecord`. `lineage` goes from the first artifact to the last.
    """

    classifier: str
    prepared: str
    metrics: Mapping[str, Any]
    truth: Sequence[str]
    probabilities: npt.NDArray[np.float64]
    mistakes: Sequence[Mistake] = ()
    explained_by: str | None = None
    suspects: Sequence[Suspect] | None = None
    checked_messages: int = 0
    history: "pd.DataFrame | None" = None
    kept_epoch: int | None = None
    lineage: Sequence[LineageStep] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    substitutions: Sequence[str] = ()

    @property
    def split(self) -> str:
        return str(self.metrics["split"])

    @property
    def messages(self) -> int:
        return int(self.metrics["messages"])

    @property
    def labels(self) -> list[str]:
        return list(self.metrics["labels"])

    @property
    def binary(self) -> bool:
        return len(self.labels) == 2

    @property
    def positive_label(self) -> str:
        return str(self.metrics["positive_label"])

    @property
    def other_label(self) -> str:
        """What is not positive: the other label, or `other messages` where there are several."""
        others = [label for label in self.labels if label != self.positive_label]
        return others[0] if len(others) == 1 else "other messages"

    @property
    def threshold(self) -> float | None:
        found = self.metrics["threshold"]
        return None if found is None else float(found)

    def interval(self, metric: str, label: str | None = None) -> Pair:
        intervals = self.metrics["intervals"]
        of = intervals if label is None else intervals["labels"][label]
        found: Pair = of.get(metric)
        return found

    def count(self, truth: str, predicted: str) -> int:
        """How many messages of one label were taken for another."""
        names = self.labels
        row = self.metrics["confusion_matrix"][names.index(truth)]
        return int(row[names.index(predicted)])


def surest_mistakes(
    texts: Sequence[str],
    truth: Sequence[str],
    predicted: Sequence[str],
    probabilities: npt.NDArray[np.float64],
    labels: Sequence[str],
) -> list[Mistake]:
    """The surest wrong answers, without highlights: as many of each answer, the surest first.

    Were they not taken answer by answer, one kind could fill the list.
    """
    names = list(labels)
    of_each = max(1, MISTAKES_SHOWN // len(names))
    wrong = [row for row in range(len(texts)) if truth[row] != predicted[row]]
    found = [
        Mistake(
            texts[row],
            truth[row],
            predicted[row],
            float(probabilities[row, names.index(predicted[row])]),
        )
        for row in wrong
    ]
    found.sort(key=lambda mistake: -mistake.probability)
    return [
        mistake
        for name in reversed(names)
        for mistake in [each for each in found if each.predicted == name][:of_each]
    ]


def render(report: Report) -> str:
    """The page. The same report gives the same text."""
    import spamgpt

    template = _environment().get_template("report.html.jinja")
    page = template.render(
        report=report,
        version=spamgpt.__version__,
        verdict=_verdict(report),
        warnings=_warnings(report),
        key_figures=_key_figures(report),
        scores=_scores(report),
        interval_note=_interval_note(report),
        label_rows=_label_rows(report),
        confusion=_confusion(report),
        operating_rows=_operating_rows(report),
        operating_note=_operating_note(report),
        calibration_note=_calibration_note(report),
        slice_groups=_slice_groups(report),
        worst_slice=_worst_slice(report),
        baseline_rows=_baseline_rows(report),
        baseline_note=_baseline_note(report),
        baseline_columns=[name for _, name in _BASELINE_COLUMNS],
        mistakes_note=_mistakes_note(report),
        suspects_note=_suspects_note(report),
        suspects_shown=_SUSPECTS_SHOWN,
        charts=_charts(report),
        captions=_captions(report),
    )
    return "\n".join(line for line in page.split("\n") if line.strip()) + "\n"


def percent(value: float | None) -> str:
    return "none" if value is None else f"{value:.1%}"


def _environment() -> "Environment":
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("spamgpt.evaluation.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
        finalize=_spelled_out,
    )
    environment.filters.update(
        percent=percent,
        probability=_probability,
        points=_points,
        count=lambda value: f"{value:,}",
        place=lambda value: f"{min(max(value, 0.0), 1.0):.4f}",
        setting=_setting,
        cut=_cut,
        marked=_marked,
    )
    return environment


def _probability(value: float | None) -> str:
    return "none" if value is None else f"{value:.4f}"


def _setting(value: Any) -> str:
    """A setting's name or value as people write it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value).replace("_", " ")


def _threshold(value: float) -> str:
    return "never" if value > 1 else _probability(value)


def _points(difference: float) -> str:
    """A difference of two shares, in percentage points."""
    return f"{difference * 100:+.1f}".replace("-", "\N{MINUS SIGN}")


def _spelled_out(value: Any) -> Any:
    """What every expression of the page goes through: control characters and marks spelled out."""
    from markupsafe import Markup

    if isinstance(value, str) and not isinstance(value, Markup):
        return _printable_lines(value)
    return value


def _printable_lines(text: str) -> str:
    """`printable`, but lines and tabs stay, for the page can show them."""
    from spamgpt.printable import printable

    return "\n".join(
        "\t".join(printable(cell) for cell in line.split("\t")) for line in text.split("\n")
    )


def _cut(text: str) -> "Markup":
    return _show_message(text, ())


def _marked(mistake: Mistake) -> "Markup":
    return _show_message(mistake.text, mistake.highlights)


def _show_message(text: str, highlights: Sequence[Highlight]) -> "Markup":
    """A message as HTML, the beginning of a long one, with what drove its answer marked."""
    from markupsafe import Markup, escape

    shown = text[:_CHARACTERS_SHOWN]
    strongest = max((abs(highlight.weight) for highlight in highlights), default=0.0)
    pieces, at = [], 0
    for highlight in sorted(highlights, key=lambda each: each.start):
        start, end = max(highlight.start, at), min(highlight.end, len(shown))
        # The space before a word is part of it, but nothing to mark.
        start += len(shown[start:end]) - len(shown[start:end].lstrip())
        weight = abs(highlight.weight) / strongest if strongest else 0.0
        if start >= end or weight < 0.05:
            continue
        pieces.append(escape(_printable_lines(shown[at:start])))
        pieces.append(
            Markup('<mark class="{}" style="--weight:{}">{}</mark>').format(
                "for" if highlight.weight > 0 else "against",
                f"{weight:.2f}",
                _printable_lines(shown[start:end]),
            )
        )
        at = end
    pieces.append(escape(_printable_lines(shown[at:])))
    if len(text) > len(shown):
        left = len(text) - len(shown)
        pieces.append(
            Markup(' <span class="cut">… and {} more characters</span>').format(f"{left:,}")
        )
    if not text.strip():
        pieces.append(Markup('<span class="cut">(nothing but space)</span>'))
    return Markup("").join(pieces)


def _verdict(report: Report) -> dict[str, str]:
    """What someone who runs a filter wants to know first."""
    metrics = report.metrics
    if not report.binary:
        scored = {name: row for name, row in metrics["labels"].items() if row["messages"]}
        weakest = min(scored, key=lambda name: scored[name]["recall"])
        best = max(scored, key=lambda name: scored[name]["recall"])
        return {
            "headline": f"It gets {percent(metrics['accuracy'])} of the messages right.",
            "detail": f"It knows {best} best, of which it finds {percent(scored[best]['recall'])}, "
            f"and {weakest} least, of which it finds {percent(scored[weakest]['recall'])}.",
        }
    positive, other = report.positive_label, report.other_label
    positives = int(metrics["labels"][positive]["messages"])
    others = int(metrics["labels"][other]["messages"])
    caught, lost = report.count(positive, positive), report.count(other, positive)
    parts = []
    if positives:
        parts.append(f"catches {percent(caught / positives)} of {positive}")
    if others:
        parts.append(f"loses {percent(lost / others)} of {other}")
    headline = "It " + " and ".join(parts) + "."
    detail = (
        f"Of {positives:,} {positive} messages it caught {caught:,}; of {others:,} {other} "
        f"messages it took {lost:,} for {positive}."
    )
    if points := metrics["operating_points"]:
        # The strictest limit that so many messages can tell from none lost.
        point = next((each for each in points if others * each["max_ham_loss"] >= 1), points[-1])
        detail += (
            f" With a threshold that loses at most {_limit(point)} of {other}, it would catch "
            f"{percent(point['recall'])} of {positive}."
        )
    return {"headline": headline, "detail": detail}


def _limit(point: Mapping[str, Any]) -> str:
    return f"{point['max_ham_loss'] * 100:g}%"


def _warnings(report: Report) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    seen = report.metrics["seen_in_training"]
    if seen:
        text = (
            f"{seen:,} of these messages were in the classifier's training data: "
            "the scores flatter it."
        )
        found.append({"text": text, "alarm": True})
    elif report.split != "test":
        text = f"The {report.split} split had a part in training: the scores flatter it."
        found.append({"text": text, "alarm": True})
    if seen is None:
        text = "The classifier keeps no record of which messages it was trained on."
        found.append({"text": text, "alarm": False})
    rarest = min(report.metrics["labels"].items(), key=lambda item: item[1]["messages"])
    if rarest[1]["messages"] < 100:
        text = f"There are only {rarest[1]['messages']:,} {rarest[0]} messages to judge by."
        found.append({"text": text, "alarm": False})
    found += [{"text": text, "alarm": False} for text in report.substitutions]
    return found


# Key in metrics.json, name, what it says, whether it lies between 0 and 1.
_METRICS = (
    ("accuracy", "accuracy", "messages that got their label", True),
    ("balanced_accuracy", "balanced accuracy", "mean recall of the labels", True),
    ("precision", "precision of {positive}", "of what was called {positive}, how much was", True),
    ("recall", "recall of {positive}", "of what was {positive}, how much was called so", True),
    ("f1", "F1 of {positive}", "harmonic mean of the two", True),
    ("macro_f1", "macro F1", "mean F1 of the labels", True),
    ("roc_auc", "ROC-AUC", "how often a {positive} message ranks above another", True),
    ("average_precision", "average precision", "area under precision and recall", True),
    ("mcc", "Matthews correlation", "1 perfect, 0 no better than chance", False),
    ("loss", "log loss", "nats a message; less is better", False),
    ("brier", "Brier score", "squared error of the probabilities; less is better", False),
    ("ece", "expected calibration error", "how far probabilities are off on average", False),
)


def _row(report: Report, key: str, name: str, meaning: str, is_share: bool) -> dict[str, Any]:
    value, pair = report.metrics.get(key), report.interval(key)
    form = percent if is_share and key != "roc_auc" else _decimals
    return {
        "name": name.format(positive=report.positive_label),
        "meaning": meaning.format(positive=report.positive_label),
        "value": value,
        "interval": pair,
        "is_share": is_share,
        "shown": form(value),
        "interval_shown": f"{form(pair[0])} \N{EN DASH} {form(pair[1])}" if pair else "",
    }


def _decimals(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}".replace("-", "\N{MINUS SIGN}")


def _scores(report: Report) -> list[dict[str, Any]]:
    rows = [_row(report, *metric) for metric in _METRICS]
    if not report.binary:
        # The roles of one label among several are in the table of labels.
        for_one = {"precision", "recall", "f1"}
        rows = [row for row, each in zip(rows, _METRICS, strict=True) if each[0] not in for_one]
        for row in rows:
            if row["name"] == "ROC-AUC":
                row["meaning"] = "one label against the rest, the mean of the labels"
    return rows


def _key_figures(report: Report) -> list[dict[str, Any]]:
    wanted = (
        ("accuracy", "precision", "recall", "roc_auc", "ece")
        if report.binary
        else ("accuracy", "macro_f1", "roc_auc", "ece")
    )
    return [_row(report, *metric) for metric in _METRICS if metric[0] in wanted]


def _interval_note(report: Report) -> str:
    intervals = report.metrics["intervals"]
    return (
        "Another sample of such messages would give other scores: the interval says how far they "
        f"may lie apart (bootstrap over the messages, {intervals['resamples']:,} resamples, seed "
        f"{intervals['seed']})."
    )


def _label_rows(report: Report) -> list[dict[str, Any]]:
    return [
        {
            "label": label,
            "messages": scores["messages"],
            "cells": [
                {"value": scores[name], "interval": report.interval(name, label)}
                for name in ("precision", "recall", "f1")
            ],
        }
        for label, scores in report.metrics["labels"].items()
    ]


def _confusion(report: Report) -> dict[str, Any]:
    rows = []
    for i, (label, counts) in enumerate(
        zip(report.labels, report.metrics["confusion_matrix"], strict=True)
    ):
        total = max(sum(counts), 1)
        cells = [
            {"count": count, "share": count / total, "right": i == j}
            for j, count in enumerate(counts)
        ]
        rows.append({"label": label, "cells": cells})
    return {"labels": report.labels, "rows": rows}


def _operating_rows(report: Report) -> list[dict[str, Any]]:
    others = sum(
        scores["messages"]
        for label, scores in report.metrics["labels"].items()
        if label != report.positive_label
    )
    return [
        {
            "name": f"at most {_limit(point)}",
            "threshold": _threshold(point["threshold"]),
            "recall": point["recall"],
            "interval": point["recall_interval"],
            "lost": f"{point['ham_lost_messages']:,} of {others:,}",
            "lost_interval": point["ham_lost_interval"],
        }
        for point in report.metrics["operating_points"]
    ]


def _operating_note(report: Report) -> str:
    """What the table cannot say, with so many messages."""
    others = sum(
        scores["messages"]
        for label, scores in report.metrics["labels"].items()
        if label != report.positive_label
    )
    note = (
        "These thresholds were found on the messages of this page; expect to lose a little more "
        "on new ones."
    )
    limits = [point["max_ham_loss"] for point in report.metrics["operating_points"]]
    if limits and others * min(limits) < 1:
        note += (
            f" With {others:,} {report.other_label} messages, {min(limits) * 100:g}% is less "
            "than one: that row stands for none lost."
        )
    return note


def _calibration_note(report: Report) -> str:
    temperature = report.metrics["temperature"]
    scaled = "" if temperature == 1 else f", after temperature scaling by {temperature:.2f}"
    return (
        f"A stated probability is off by {percent(report.metrics['ece'])} on average{scaled} "
        "(expected calibration error)."
    )


def _slice_groups(report: Report) -> list[dict[str, Any]]:
    groups: dict[str, list[dict[str, Any]]] = {}
    for each in report.metrics["slices"]:
        groups.setdefault(each["slice"], []).append(
            {
                "name": _kind(each),
                "messages": each["messages"],
                "accuracy": each["accuracy"],
                "interval": each["interval"],
                "f1": each["f1"],
                "worst": each == report.metrics["worst_slice"],
            }
        )
    return [{"name": name, "rows": rows} for name, rows in groups.items()]


def _kind(each: Mapping[str, Any]) -> str:
    """`with a link` says enough; the name of a source does not."""
    value = str(each["value"])
    return f"source {value}" if each["slice"] == "source" else value


def _worst_slice(report: Report) -> str:
    worst = report.metrics["worst_slice"]
    fewest = report.metrics["fewest_in_worst_slice"]
    if worst is None:
        return f"No kind with {fewest} messages or more stands out."
    return (
        f"Worst of those with {fewest} messages or more: {_kind(worst)}, with "
        f"{worst['errors']:,} of {worst['messages']:,} wrong."
    )


_BASELINE_COLUMNS = (
    ("accuracy", "accuracy"),
    ("precision", "precision"),
    ("recall", "recall"),
    ("macro_f1", "macro F1"),
)


def _baseline_rows(report: Report) -> list[dict[str, Any]]:
    metrics = report.metrics
    if not metrics.get("baselines", []):
        return []

    def cells(scores: Mapping[str, Any]) -> list[float | None]:
        return [scores[key] for key, _ in _BASELINE_COLUMNS]

    rows: list[dict[str, Any]] = [
        {"name": report.classifier, "cells": cells(metrics), "own": True, "interval": None}
    ]
    for baseline in metrics.get("baselines", []):
        difference = baseline["difference"]["accuracy"]
        rows.append(
            {
                "name": baseline["name"],
                "cells": cells(baseline),
                "own": False,
                "difference": difference["value"],
                "interval": difference["interval"],
            }
        )
    return rows


def _baseline_note(report: Report) -> str:
    """Whether a simpler model does as well; honest also when it wins."""
    baselines = report.metrics.get("baselines", [])
    if not baselines:
        return ""
    best = max(baselines, key=lambda baseline: float(baseline["accuracy"]))
    interval = best["difference"]["accuracy"]["interval"]
    told = "Trained on the same messages, scored on the same messages. "
    if interval is None:
        return told
    if interval[0] > 0:
        return told + "The classifier is ahead of all of them, by more than chance explains."
    if interval[1] < 0:
        return told + (
            f"{best['name']} is ahead, by more than chance explains: it is the better choice here."
        )
    return told + (
        f"Chance alone could explain the difference to {best['name']}: these messages do not say "
        "which is better."
    )


def _mistakes_note(report: Report) -> str:
    confusion = report.metrics["confusion_matrix"]
    wrong = sum(sum(row) - row[i] for i, row in enumerate(confusion))
    shown = len(report.mistakes)
    return (
        f"All {wrong:,}."
        if shown == wrong
        else f"{shown:,} of {wrong:,}: the surest of each answer."
    )


def _suspects_note(report: Report) -> str:
    if report.suspects is None:
        return "Not checked: the training data has too few messages of a label."
    how = (
        "A linear model was trained on four fifths of the training data at a time and asked about "
        "the rest (confident learning, Northcutt et al. 2021)."
    )
    found, checked = len(report.suspects), f"{report.checked_messages:,}"
    if not found:
        return f"{how} It doubts none of the {checked} labels."
    shown = f" The {_SUSPECTS_SHOWN} it doubts most:" if found > _SUSPECTS_SHOWN else ""
    return (
        f"{how} It doubts {found:,} of {checked} labels. Some are wrong labels; others are hard "
        f"messages, rightly labelled.{shown}"
    )


def _charts(report: Report) -> dict[str, Any]:
    from markupsafe import Markup

    from spamgpt.evaluation.report import charts

    given = (report.truth, report.probabilities, report.labels, report.positive_label)
    lost, recall, precision = _point_in_use(report)
    drawn: dict[str, Any] = {
        "roc": charts.roc_chart(*given, None if lost is None or recall is None else (lost, recall)),
        "precision_recall": charts.precision_recall_chart(
            *given, None if recall is None or precision is None else (recall, precision)
        ),
        "calibration": charts.calibration_chart(*given),
        "scores": charts.score_chart(*given, report.threshold),
    }
    drawn = {name: Markup(svg) for name, svg in drawn.items()}
    drawn["training"] = list(_training_charts(report))
    return drawn


def _training_charts(report: Report) -> Iterator[dict[str, Any]]:
    from markupsafe import Markup

    from spamgpt.evaluation.report.charts import training_chart

    if report.history is None or report.kept_epoch is None:
        return
    kept = f"Epoch {report.kept_epoch} of {len(report.history)} was kept."
    for measure, title, caption in (
        ("loss", "Loss", f"{kept} Validation loss that rises again means learning by heart."),
        ("accuracy", "Accuracy", "Over both splits whole, after each epoch."),
    ):
        yield {
            "svg": Markup(training_chart(report.history, measure, report.kept_epoch)),
            "title": {"id": f"training-{measure}", "text": title},
            "caption": caption,
        }


def _point_in_use(report: Report) -> tuple[float | None, float | None, float | None]:
    """(others lost, recall, precision) of the positive label; all None with several labels."""
    if not report.binary:
        return None, None, None
    positive, other = report.positive_label, report.other_label
    caught, missed = report.count(positive, positive), report.count(positive, other)
    lost, kept = report.count(other, positive), report.count(other, other)
    return (
        lost / (lost + kept) if lost + kept else None,
        caught / (caught + missed) if caught + missed else None,
        caught / (caught + lost) if caught + lost else None,
    )


def _captions(report: Report) -> dict[str, str]:
    positive, other = report.positive_label, report.other_label
    if not report.binary:
        return {
            "roc": "Each label against the rest. Up and to the left is better; the dashed line is "
            "chance.",
            "precision_recall": "Each label against the rest. Up and to the right is better.",
            "calibration": "Dots on the dashed line: probabilities mean what they say. Bars: 95% "
            "intervals.",
            "scores": "Messages by the probability of their answer, on a logarithmic scale.",
        }
    return {
        "roc": f"How much {positive} is caught for how much {other} is lost. The dot is the "
        "threshold in use, the dashed line chance.",
        "precision_recall": f"How much of what is called {positive} is. The dashed line is the "
        f"share of {positive} among the messages.",
        "calibration": f"Of the messages said to be {positive} with some probability, how many "
        "are. Dots on the dashed line mean what they say. Bars: 95% intervals.",
        "scores": f"Upward {positive}, downward {other}, on a logarithmic scale. The dashed line "
        "is the threshold.",
    }
