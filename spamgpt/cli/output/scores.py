"""Tables of scores, at most as wide as the terminal; `evaluate`, `compare` and `run` show them."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from spamgpt.printable import printable
from spamgpt.reporting import Reporter
from spamgpt.workspace import Artifact

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

# How many confusions are listed where their matrix is too wide.
_CONFUSIONS = 10

# Each score's name for people; those that are shares are shown in per cent.
_NAMES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
    "mcc": "Matthews correlation",
    "roc_auc": "ROC-AUC",
    "average_precision": "average precision",
    "loss": "loss",
    "brier": "Brier score",
    "ece": "calibration error",
}
_SHARES = ("accuracy", "balanced_accuracy", "precision", "recall", "f1", "macro_f1")


def show_metrics(evaluation: Artifact, metrics: Mapping[str, Any]) -> None:
    """Everything that `evaluate` says, most important first."""
    from rich.text import Text

    from spamgpt.cli.output.screen import stdout_console

    console = stdout_console()
    judged = evaluation.manifest["inputs"][0]["artifact"]
    title = (
        f"{evaluation.reference}: {judged} on the {metrics['split']} split, "
        f"{metrics['messages']:,} messages"
    )
    console.print(Text(printable(title), style="bold"), soft_wrap=True)
    console.print(_seen(metrics["seen_in_training"]), soft_wrap=True)
    console.print(_scores(metrics))
    console.print()
    console.print(_labels(metrics))
    console.print()
    _show_confusions(console, metrics)
    if metrics["operating_points"]:
        console.print()
        console.print(_operating_points(metrics))
    if worst := metrics["worst_slice"]:
        low, high = worst["interval"]
        console.print()
        console.print(
            printable(
                f"Weakest on {worst['slice']}: {worst['value']}, {worst['messages']:,} messages, "
                f"accuracy {worst['accuracy']:.2%} ({low:.1%} to {high:.1%})"
            ),
            markup=False,
        )
    if "baselines" in metrics:
        console.print()
        console.print(_baselines(judged, metrics))
        console.print(_verdict(judged, metrics), markup=False)


def tell_report(evaluation: Artifact, reporter: Reporter) -> None:
    """Where the page lies; evaluations of older versions have none."""
    from spamgpt.evaluation.report.content import REPORT_FILE

    if REPORT_FILE in evaluation.files:
        reporter.note(f"Report, for a browser: {evaluation.folder / REPORT_FILE}")


def show_comparison(
    title: str, classifiers: Sequence[Mapping[str, Any]], pairs: Sequence[Mapping[str, Any]]
) -> None:
    """A row for each classifier, and one for each pair of them."""
    from rich.text import Text

    from spamgpt.cli.output.screen import stdout_console

    console = stdout_console()
    console.print(Text(printable(title), style="bold"), soft_wrap=True)
    table = _table("classifier", "accuracy, %", "macro F1, %", "ROC-AUC", "calibr. error")
    for scored in classifiers:
        table.add_row(
            scored["classifier"],
            *(
                _with_interval(scored[name], scored["intervals"][name], name in _SHARES)
                for name in ("accuracy", "macro_f1")
            ),
            _number(scored["roc_auc"]),
            _number(scored["ece"]),
        )
    console.print(table)
    for scored in classifiers:
        line = Text(f"{scored['classifier']}: ")
        line.append(_seen(scored["seen_in_training"]))
        console.print(line, soft_wrap=True)
    console.print()
    table = _table("McNemar's test", "only first right", "only second right", "p")
    for pair in pairs:
        table.add_row(
            f"{pair['first']}, {pair['second']}",
            f"{pair['only_first']:,}",
            f"{pair['only_second']:,}",
            "< 0.0001" if pair["p_value"] < 0.0001 else f"{pair['p_value']:.4f}",
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


def _scores(metrics: Mapping[str, Any]) -> "Table":
    table = _table("", "score", "95 % interval")
    for name, shown in _NAMES.items():
        table.add_row(
            shown,
            _number(metrics[name], name in _SHARES),
            _range(metrics["intervals"][name], name in _SHARES),
        )
    return table


def _labels(metrics: Mapping[str, Any]) -> "Table":
    table = _table("label", "messages", "precision, %", "recall, %", "F1, %")
    for label, scores in metrics["labels"].items():
        intervals = metrics["intervals"]["labels"][label]
        table.add_row(
            _plain(label),
            f"{scores['messages']:,}",
            *(
                _with_interval(scores[name], intervals[name], True)
                for name in ("precision", "recall", "f1")
            ),
        )
    return table


def _show_confusions(console: "Console", metrics: Mapping[str, Any]) -> None:
    """The matrix, or where that is wider than the terminal, what is confused most often."""
    from rich.measure import Measurement

    labels, matrix = list(metrics["labels"]), metrics["confusion_matrix"]
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
        console.print(f"and {sum(count for count, *_ in rest):,} messages in other ways")


def _operating_points(metrics: Mapping[str, Any]) -> "Table":
    positive = metrics["positive_label"]
    negative = next(label for label in metrics["labels"] if label != positive)
    table = _table(
        f"{negative} lost, at most", "threshold", f"recall of {positive}, %", f"{negative} lost"
    )
    of = metrics["labels"][negative]["messages"]
    for point in metrics["operating_points"]:
        table.add_row(
            f"{point['max_ham_loss']:.1%}",
            f"{point['threshold']:.4f}",
            _with_interval(point["recall"], point["recall_interval"], True),
            f"{point['ham_lost_messages']:,} of {of:,}",
        )
    return table


def _baselines(judged: str, metrics: Mapping[str, Any]) -> "Table":
    """A row for each model with intervals, and under a baseline how far it is behind."""
    two = len(metrics["labels"]) == 2
    f1 = f"F1 of {metrics['positive_label']}" if two else "macro F1"
    compared = ("accuracy", "f1" if two else "macro_f1", "roc_auc")
    table = _table("", "accuracy", f1, "ROC-AUC")
    for name, scored in ((judged, metrics), *((b["name"], b) for b in metrics["baselines"])):
        cells = [
            [_number(scored[key], key in _SHARES), _range(scored["intervals"][key], key in _SHARES)]
            for key in compared
        ]
        table.add_row(name, *(value for value, _ in cells))
        table.add_row("  95 % interval", *(interval for _, interval in cells), style="dim")
        if scored is metrics:
            continue
        ahead = [scored["difference"].get(key) for key in compared]
        table.add_row(
            "  ours is ahead by",
            *(
                _number(each and each["value"], key in _SHARES, sign=True)
                for key, each in zip(compared, ahead, strict=True)
            ),
        )
        table.add_row(
            "  95 % interval",
            *(
                _range(each and each["interval"], key in _SHARES)
                for key, each in zip(compared, ahead, strict=True)
            ),
            style="dim",
        )
    return table


def _verdict(judged: str, metrics: Mapping[str, Any]) -> str:
    """Who is ahead in accuracy, and whether that is more than chance."""
    best = max(metrics["baselines"], key=lambda baseline: baseline["accuracy"])
    ahead = best["difference"]["accuracy"]
    low, high = ahead["interval"]
    value = ahead["value"]
    if value == 0:
        return f"{judged} and '{best['name']}' are equally accurate."
    winner = judged if value > 0 else f"The baseline '{best['name']}'"
    sure = (
        "more than chance explains" if low > 0 or high < 0 else "no more than chance could explain"
    )
    other = f"'{best['name']}'" if value > 0 else judged
    return (
        f"{winner} is ahead of {other} in accuracy by {abs(100 * value):.2f} points, {sure} "
        f"(McNemar's test: p = {best['mcnemar']['p_value']:.2g})."
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


def _number(value: float | None, is_share: bool = False, sign: bool = False) -> str:
    if value is None:
        return "none"
    plus = "+" if sign else ""
    return f"{100 * value:{plus}.2f}%" if is_share else f"{value:{plus}.4f}"


def _range(interval: Sequence[float] | None, is_share: bool) -> str:
    if interval is None:
        return ""
    low, high = interval
    if is_share:
        return f"{100 * low:.1f} to {100 * high:.1f}"
    return f"{low:.3f} to {high:.3f}"


def _with_interval(value: float | None, interval: Sequence[float] | None, is_share: bool) -> str:
    if value is None:
        return "none"
    scale, digits = (100, 1) if is_share else (1, 3)
    shown = f"{scale * value:.{digits}f}"
    if interval is None:
        return shown
    low, high = (f"{scale * end:.{digits}f}" for end in interval)
    return f"{shown} ({low}-{high})"
