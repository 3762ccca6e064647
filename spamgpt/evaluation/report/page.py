"""report.html: what a report says as one page, with nothing outside it.

Everything on the page that comes from messages, labels, names or settings is escaped and printable.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from spamgpt.evaluation.mistakes import Highlight, Mistake
from spamgpt.evaluation.report import numbers, sentences
from spamgpt.evaluation.report.content import content_of
from spamgpt.evaluation.report.record import Report

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

REPORT_FILE = "report.html"
_CHARACTERS_SHOWN = 480


def render(report: Report) -> str:
    """The page. The same report gives the same text."""
    from markupsafe import Markup

    from spamgpt.style import STYLE_FILE
    from spamgpt.version import __version__

    content = content_of(report)
    page = (
        _environment()
        .get_template("report.html.jinja")
        .render(
            report=report,
            content=content,
            charts=_charts(report, content.captions),
            style=Markup(STYLE_FILE.read_text(encoding="utf-8")),
            version=__version__,
        )
    )
    return "\n".join(line for line in page.split("\n") if line.strip()) + "\n"


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
        percent=numbers.percent,
        probability=numbers.probability,
        points=numbers.points,
        count=lambda value: f"{value:,}",
        place=lambda value: f"{min(max(value, 0.0), 1.0):.4f}",
        setting=_setting,
        cut=_cut,
        marked=_marked,
    )
    return environment


def _setting(value: Any) -> str:
    """A setting's name or value as people write it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value).replace("_", " ")


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


@dataclass(frozen=True)
class _Chart:
    """A chart with its title and what to look for in it."""

    svg: "Markup"
    id: str
    title: str
    caption: str


@dataclass(frozen=True)
class _Charts:
    roc: _Chart
    precision_recall: _Chart
    calibration: _Chart
    scores: _Chart
    training: Sequence[_Chart]


def _charts(report: Report, said: sentences.Captions) -> _Charts:
    from markupsafe import Markup

    from spamgpt.evaluation.report import charts

    given = (
        report.outcome.truth,
        report.outcome.scores,
        report.labels,
        report.positive_label,
    )
    lost, recall, precision = _point_in_use(report)
    roc_point = None if lost is None or recall is None else (lost, recall)
    precision_point = None if recall is None or precision is None else (recall, precision)
    return _Charts(
        roc=_Chart(Markup(charts.roc_chart(*given, roc_point)), "roc", "ROC", said.roc),
        precision_recall=_Chart(
            Markup(charts.precision_recall_chart(*given, precision_point)),
            "precision-recall",
            "Precision and recall",
            said.precision_recall,
        ),
        calibration=_Chart(
            Markup(charts.calibration_chart(*given)),
            "calibration",
            "Calibration",
            said.calibration,
        ),
        scores=_Chart(
            Markup(charts.score_chart(*given, report.evaluation.threshold)),
            "scores",
            "Scores given",
            said.scores,
        ),
        training=_training_charts(report),
    )


def _training_charts(report: Report) -> list[_Chart]:
    from markupsafe import Markup

    from spamgpt.evaluation.report.charts import training_chart

    if report.history is None or report.kept_epoch is None:
        return []
    loss, accuracy = sentences.training_captions(report.kept_epoch, len(report.history))
    return [
        _Chart(
            Markup(training_chart(report.history, measure, report.kept_epoch)),
            f"training-{measure}",
            measure.capitalize(),
            caption,
        )
        for measure, caption in (("loss", loss), ("accuracy", accuracy))
    ]


def _point_in_use(report: Report) -> tuple[float | None, float | None, float | None]:
    """(others lost, recall, precision) of the positive label; all None with several labels."""
    scores = report.scores
    if not scores.binary:
        return None, None, None
    positive, other = report.positive_label, report.other_label
    caught, missed = scores.count(positive, positive), scores.count(positive, other)
    lost, kept = scores.count(other, positive), scores.count(other, other)
    return (
        lost / (lost + kept) if lost + kept else None,
        caught / (caught + missed) if caught + missed else None,
        caught / (caught + lost) if caught + lost else None,
    )
