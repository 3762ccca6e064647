"""Tables of scores, at most as wide as the terminal; `evaluate`, `compare` and `run` show them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from spamgpt.printable import counted, printable
from spamgpt.reporting import Reporter
from spamgpt.workspace import Artifact

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from spamgpt.evaluation.evaluation import Baseline, Evaluation
    from spamgpt.evaluation.intervals import Interval, Intervals
    from spamgpt.evaluation.metrics import Metric, Scores
    from spamgpt.stages.compare import Comparison

# How many confusions are listed where their matrix is too wide.
_CONFUSIONS = 10


def show_metrics(artifact: Artifact, evaluation: "Evaluation") -> None:
    """Everything that `evaluate` says, most important first."""
    from rich.text import Text

    from spamgpt.cli.output.screen import stdout_console

    console, scores = stdout_console(), evaluation.scores
    judged = artifact.metadata.get("classifier") or artifact.manifest["inputs"][0]["artifact"]
    title = (
        f"{artifact.reference}: {judged} on the {evaluation.split} split, "
        f"{counted(scores.messages, 'message')}"
    )
    console.print(Text(printable(title), style="bold"), soft_wrap=True)
    console.print(_seen(evaluation.seen_in_training), soft_wrap=True)
    console.print(_scores(scores, evaluation.intervals))
    console.print()
    console.print(_labels(scores, evaluation.intervals))
    console.print()
    _show_confusions(console, scores)
    if evaluation.operating_points:
        console.print()
        console.print(_operating_points(evaluation))
    if worst := evaluation.worst_slice:
        console.print()
        console.print(
            printable(
                f"Weakest on {worst.slice}: {worst.value}, "
                f"{counted(worst.messages, 'message')}, "
                f"accuracy {worst.accuracy:.2%}"
            )
            + (f" ({worst.interval[0]:.1%} to {worst.interval[1]:.1%})" if worst.interval else ""),
            markup=False,
        )
    if evaluation.baselines:
        console.print()
        console.print(_baselines(judged, evaluation, evaluation.baselines))
        console.print(_verdict(judged, evaluation, evaluation.baselines), markup=False)


def tell_report(evaluation: Artifact, reporter: Reporter) -> None:
    """Where the page lies."""
    from spamgpt.evaluation.report.page import REPORT_FILE

    reporter.note(f"Report, for a browser: {evaluation.folder / REPORT_FILE}")


def show_comparison(found: "Comparison") -> None:
    """A row for each classifier, and one for each pair of them."""
    from rich.text import Text

    from spamgpt.cli.output.screen import stdout_console
    from spamgpt.evaluation.metrics import ACCURACY, ECE, MACRO_F1, ROC_AUC

    console = stdout_console()
    title = f"{found.split} split of {found.prepared}, {found.messages:,} messages"
    console.print(Text(printable(title), style="bold"), soft_wrap=True)
    # A narrow terminal has no room for the whole name of the last.
    table = _table(
        "classifier",
        *(f"{metric.name}, %" for metric in (ACCURACY, MACRO_F1)),
        ROC_AUC.name,
        "calibr. error",
    )
    for scored in found.classifiers:
        table.add_row(
            scored.classifier,
            *(
                _with_interval(scored.scores[metric], scored.intervals[metric])
                for metric in (ACCURACY, MACRO_F1)
            ),
            *(_number(metric, scored.scores[metric]) for metric in (ROC_AUC, ECE)),
        )
    console.print(table)
    for scored in found.classifiers:
        line = Text(f"{scored.classifier}: ")
        line.append(_seen(scored.seen_in_training))
        console.print(line, soft_wrap=True)
    console.print()
    table = _table("McNemar's test", "only first right", "only second right", "p")
    for pair in found.pairs:
        test = pair.mcnemar
        table.add_row(
            f"{pair.first}, {pair.second}",
            f"{test.only_first:,}",
            f"{test.only_second:,}",
            "< 0.0001" if test.p_value < 0.0001 else f"{test.p_value:.4f}",
        )
    console.print(table)


def _seen(seen: int | None) -> Any:
    """How many of the messages were trained on, in red if any."""
    from rich.text import Text

    if seen is None:
        return Text("It keeps no record of which messages it was trained on.", style="yellow")
    if seen == 0:
        return Text("It was trained on none of them.")
    return Text(
        f"It was trained on {seen:,} of them (case and spaces aside): the scores flatter it.",
        style="bold red",
    )


def _scores(scores: "Scores", intervals: "Intervals") -> "Table":
    from spamgpt.evaluation.metrics import METRICS

    table = _table("", "score", "95 % interval")
    for metric in METRICS.values():
        # Those of the positive label are in the table of labels.
        if not metric.of_positive:
            value, interval = scores[metric], intervals[metric]
            table.add_row(metric.name, _number(metric, value), _range(metric, interval))
    return table


def _labels(scores: "Scores", intervals: "Intervals") -> "Table":
    table = _table("label", "messages", "precision, %", "recall, %", "F1, %")
    for label, of_label in scores.labels.items():
        around = intervals.labels[label]
        table.add_row(
            _plain(label),
            f"{of_label.messages:,}",
            _with_interval(of_label.precision, around.precision),
            _with_interval(of_label.recall, around.recall),
            _with_interval(of_label.f1, around.f1),
        )
    return table


def _show_confusions(console: "Console", scores: "Scores") -> None:
    """The matrix, or where that is wider than the terminal, what is confused most often."""
    from rich.measure import Measurement

    labels, matrix = list(scores.labels), scores.confusion_matrix
    table = _table("label", *(f"taken for {label}" for label in labels))
    for label, row in zip(labels, matrix, strict=True):
        table.add_row(_plain(label), *(f"{count:,}" for count in row))
    unbounded = console.options.update_width(10_000)
    if Measurement.get(console, unbounded, table).maximum <= console.width:
        console.print(table)
        return
    confusions = sorted(
        (
            (count, label, other)
            for label, row in zip(labels, matrix, strict=True)
            for other, count in zip(labels, row, strict=True)
            if count and label != other
        ),
        key=lambda confusion: -confusion[0],
    )
    shown = confusions[:_CONFUSIONS]
    table = _table("label", "messages", "taken for")
    table.columns[2].justify = "left"
    for count, label, other in shown:
        table.add_row(_plain(label), f"{count:,}", _plain(other))
    if shown:
        console.print(table)
    if rest := confusions[_CONFUSIONS:]:
        others = counted(sum(count for count, *_ in rest), "message")
        console.print(f"and {others} in other ways")


def _operating_points(evaluation: "Evaluation") -> "Table":
    scores = evaluation.scores
    positive = scores.positive_label
    negative = next(label for label in scores.labels if label != positive)
    table = _table(
        f"{negative} lost, at most", "threshold", f"recall of {positive}, %", f"{negative} lost"
    )
    for point in evaluation.operating_points:
        table.add_row(
            f"{point.max_false_positive_rate:.1%}",
            f"{point.threshold:.4f}",
            _with_interval(point.recall, point.recall_interval),
            f"{point.false_positives:,} of {scores.negatives:,}",
        )
    return table


def _baselines(judged: str, evaluation: "Evaluation", baselines: "Sequence[Baseline]") -> "Table":
    """A row for each model with intervals, and under a baseline how far it is behind."""
    from spamgpt.evaluation.metrics import ACCURACY, F1, MACRO_F1, ROC_AUC

    positive = evaluation.scores.positive_label
    compared = (ACCURACY, F1 if evaluation.scores.binary else MACRO_F1, ROC_AUC)
    table = _table("", *(metric.title(positive) for metric in compared))

    def add(name: str, scores: "Scores", intervals: "Intervals") -> None:
        table.add_row(name, *(_number(metric, scores[metric]) for metric in compared))
        around = (_range(metric, intervals[metric]) for metric in compared)
        table.add_row("  95 % interval", *around, style="dim")

    add(judged, evaluation.scores, evaluation.intervals)
    for baseline in baselines:
        add(baseline.name, baseline.scores, baseline.intervals)
        ahead = [(metric, baseline.differences.get(metric.key)) for metric in compared]
        table.add_row(
            "  ours is ahead by",
            *(_number(metric, each.value if each else None, sign=True) for metric, each in ahead),
        )
        table.add_row(
            "  95 % interval",
            *(_range(metric, each.interval if each else None) for metric, each in ahead),
            style="dim",
        )
    return table


def _verdict(judged: str, evaluation: "Evaluation", baselines: "Sequence[Baseline]") -> str:
    """Who is ahead in accuracy, and whether McNemar's test calls that more than chance."""
    best = max(baselines, key=lambda baseline: baseline.scores.accuracy)
    value = evaluation.scores.accuracy - best.scores.accuracy
    if value == 0:
        return f"{judged} and '{best.name}' are equally accurate."
    winner = judged if value > 0 else f"The baseline '{best.name}'"
    sure = (
        "more than chance explains"
        if best.mcnemar.significant
        else "no more than chance could explain"
    )
    other = f"'{best.name}'" if value > 0 else judged
    return (
        f"{winner} is ahead of {other} in accuracy by {abs(100 * value):.2f} points, {sure} "
        f"(McNemar's test: p = {best.mcnemar.p_value:.2g})."
    )


def _table(first: str, *others: str) -> "Table":
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(_plain(first), overflow="fold")
    for name in others:
        table.add_column(_plain(name), justify="right", overflow="fold")
    return table


def _plain(text: str) -> Any:
    from rich.text import Text

    return Text(printable(text))


def _number(metric: "Metric", value: float | None, sign: bool = False) -> str:
    if value is None:
        return "none"
    plus = "+" if sign else ""
    return f"{100 * value:{plus}.2f}%" if metric.is_share else f"{value:{plus}.4f}"


def _range(metric: "Metric", interval: "Interval | None") -> str:
    if interval is None:
        return ""
    low, high = interval
    if metric.is_share:
        return f"{100 * low:.1f} to {100 * high:.1f}"
    return f"{low:.3f} to {high:.3f}"


def _with_interval(share: float | None, interval: "Interval | None") -> str:
    """A share and its interval, in per cent."""
    if share is None:
        return "none"
    around = "" if interval is None else f" ({100 * interval[0]:.1f}-{100 * interval[1]:.1f})"
    return f"{100 * share:.1f}{around}"
