"""The report's charts, as SVG to stand inside a page whose style sheet gives them their colours.

Drawn by matplotlib without a screen; the same numbers give the same text.
"""

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter
from sklearn.metrics import precision_recall_curve, roc_curve

# What matplotlib draws in a colour of the left, the page shows in its variable of the right.
_INK, _MUTED, _RULE, _PAPER = "#000001", "#000002", "#000003", "#000004"
_SERIES = ("#000011", "#000012", "#000013", "#000014", "#000015", "#000016")
_VARIABLES = {
    _INK: "--ink",
    _MUTED: "--muted",
    _RULE: "--rule",
    _PAPER: "--paper",
    **{colour: f"--series-{index}" for index, colour in enumerate(_SERIES, start=1)},
}
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "spamgpt",
    "text.parse_math": False,
    "font.size": 9,
    "text.color": _MUTED,
    "axes.edgecolor": _RULE,
    "axes.labelcolor": _MUTED,
    "axes.labelsize": 9,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": _RULE,
    "grid.linewidth": 0.6,
    "xtick.color": _RULE,
    "ytick.color": _RULE,
    "xtick.labelcolor": _MUTED,
    "ytick.labelcolor": _MUTED,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "legend.labelcolor": _MUTED,
    "figure.facecolor": "none",
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
}
_PERCENT = PercentFormatter(xmax=1, decimals=0)
_CALIBRATION_BINS = 10
_HISTOGRAM_BINS = 25

Probabilities = npt.NDArray[np.float64]


def roc_chart(
    truth: Sequence[str],
    probabilities: Probabilities,
    labels: Sequence[str],
    positive_label: str,
    operating_point: tuple[float, float] | None = None,
) -> str:
    """Recall against the share of the other messages that is lost.

    With two labels, the curve of `positive_label`, with the (lost, recall) of the threshold in use
    marked; with more, one curve for each label that occurs, against the rest.
    """
    with _chart("roc") as (figure, svg):
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], linestyle=(0, (2, 3)), color=_MUTED, linewidth=1)
        for curve in _curves(truth, probabilities, labels, positive_label):
            if curve.is_label.all():
                continue
            lost, recall, _ = roc_curve(curve.is_label, curve.probability)
            axes.plot(lost, recall, color=curve.colour, label=_short(curve.label))
        _mark(axes, operating_point)
        _unit_square(axes)
        others = "others" if len(labels) > 2 else _other(labels, positive_label)
        axes.set_xlabel(f"{_short(others)} lost")
        axes.set_ylabel("recall" if len(labels) > 2 else f"{_short(positive_label)} caught")
        _legend(axes, labels, "lower right")
    return svg[0]


def precision_recall_chart(
    truth: Sequence[str],
    probabilities: Probabilities,
    labels: Sequence[str],
    positive_label: str,
    operating_point: tuple[float, float] | None = None,
) -> str:
    """Precision against recall, as `roc_chart`; `operating_point` is (recall, precision)."""
    with _chart("precision-recall") as (figure, svg):
        axes = figure.subplots()
        for curve in _curves(truth, probabilities, labels, positive_label):
            if len(labels) == 2:
                share = float(curve.is_label.mean())
                axes.axhline(share, linestyle=(0, (2, 3)), color=_MUTED, linewidth=1)
            precision, recall, _ = precision_recall_curve(curve.is_label, curve.probability)
            name = _short(curve.label)
            axes.step(recall, precision, where="post", color=curve.colour, label=name)
        _mark(axes, operating_point)
        _unit_square(axes)
        axes.set_xlabel("recall" if len(labels) > 2 else f"{_short(positive_label)} caught")
        axes.set_ylabel("precision")
        _legend(axes, labels, "lower left")
    return svg[0]


def calibration_chart(
    truth: Sequence[str],
    probabilities: Probabilities,
    labels: Sequence[str],
    positive_label: str,
) -> str:
    """What a probability is worth: the share that was so, in ten bins, with Wilson 95 % intervals.

    With two labels the probability is that of `positive_label`; with more, that of the most
    probable label.
    """
    from scipy.stats import binomtest

    names = list(labels)
    if len(names) == 2:
        said = probabilities[:, names.index(positive_label)]
        was_so = np.array([each == positive_label for each in truth])
        told = f"probability of {_short(positive_label)}"
        found = f"{_short(positive_label)} in truth"
    else:
        said = probabilities.max(axis=1)
        best = probabilities.argmax(axis=1)
        was_so = np.array([names[b] == t for b, t in zip(best, truth, strict=True)])
        told, found = "probability of the answer", "answers that were right"
    bins = np.minimum((said * _CALIBRATION_BINS).astype(int), _CALIBRATION_BINS - 1)
    with _chart("calibration") as (figure, svg):
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], linestyle=(0, (2, 3)), color=_MUTED, linewidth=1)
        means, shares = [], []
        for number in sorted(set(bins.tolist())):
            inside = bins == number
            count, right = int(inside.sum()), int(was_so[inside].sum())
            interval = binomtest(right, count).proportion_ci(method="wilson")
            means.append(float(said[inside].mean()))
            shares.append(right / count)
            axes.plot([means[-1]] * 2, [interval.low, interval.high], color=_SERIES[0], linewidth=1)
        axes.plot(means, shares, "o-", color=_SERIES[0], markersize=5, markeredgewidth=0)
        _unit_square(axes)
        axes.set_xlabel(told)
        axes.set_ylabel(found)
    return svg[0]


def score_chart(
    truth: Sequence[str],
    probabilities: Probabilities,
    labels: Sequence[str],
    positive_label: str,
    threshold: float | None = None,
) -> str:
    """How many messages got which probability, on a logarithmic scale.

    With two labels the probability of `positive_label`, by what the messages are; with more, that
    of the most probable label, by whether it was right.
    """
    names = list(labels)
    if len(names) == 2:
        said = probabilities[:, names.index(positive_label)]
        above = np.array([each == positive_label for each in truth])
        top, bottom = positive_label, _other(names, positive_label)
        told = f"probability of {_short(positive_label)}"
    else:
        said = probabilities.max(axis=1)
        best = probabilities.argmax(axis=1)
        above = np.array([names[b] != t for b, t in zip(best, truth, strict=True)])
        top, bottom, told = "wrong", "right", "probability of the answer"
        threshold = None
    edges = np.linspace(0, 1, _HISTOGRAM_BINS + 1)
    centres = (edges[:-1] + edges[1:]) / 2
    with _chart("scores") as (figure, svg):
        upper, lower = figure.subplots(2, 1, sharex=True, gridspec_kw={"hspace": 0})
        halves = ((upper, said[above], _SERIES[0], top), (lower, said[~above], _SERIES[1], bottom))
        highest = max(2.0, *(float(np.histogram(half[1], edges)[0].max()) for half in halves))
        for axes, values, colour, name in halves:
            axes.set_yscale("log")
            axes.set_ylim(0.6, highest * 2)
            counts, _ = np.histogram(values, edges)
            axes.bar(centres, counts, width=0.86 / _HISTOGRAM_BINS, color=colour, linewidth=0)
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
            axes.yaxis.set_minor_locator(matplotlib.ticker.NullLocator())
            axes.grid(visible=False, axis="x")
            axes.set_xlim(0, 1)
            axes.set_ylabel(_short(name), color=colour)
            if threshold is not None and 0 < threshold < 1:
                axes.axvline(threshold, color=_INK, linewidth=1, linestyle=(0, (3, 2)))
        lower.invert_yaxis()
        upper.spines["bottom"].set_visible(False)
        lower.spines["bottom"].set_visible(False)
        lower.spines["top"].set_visible(True)
        lower.set_xlabel(told)
    return svg[0]


def training_chart(history: pd.DataFrame, measure: str, kept_epoch: int) -> str:
    """`loss` or `accuracy` of both splits against the epoch; the epoch that was kept is marked.

    `history` has the columns of `EpochRecord`.
    """
    with _chart(f"training-{measure}") as (figure, svg):
        axes = figure.subplots()
        axes.axvline(kept_epoch, color=_INK, linestyle=(0, (3, 2)), linewidth=1, label="kept")
        for split, colour in (("training", _SERIES[1]), ("validation", _SERIES[0])):
            values = history[f"{split}_{measure}"]
            axes.plot(
                history["epoch"],
                values,
                "o-",
                color=colour,
                label=split,
                markersize=4,
                markeredgewidth=0,
            )
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        if measure == "loss":
            axes.set_ylim(bottom=0)
            axes.set_ylabel("cross-entropy, nats")
        else:
            axes.yaxis.set_major_formatter(PercentFormatter(xmax=1))
            axes.set_ylabel(measure)
        axes.legend()
    return svg[0]


@contextmanager
def _chart(name: str) -> Iterator[tuple[Figure, list[str]]]:
    """A figure to draw into; afterwards the list holds its SVG."""
    done: list[str] = []
    with matplotlib.rc_context({**dict(matplotlib.rcParamsDefault), **_STYLE}):
        figure = Figure(figsize=(4.6, 3.3))
        # Room for the widest labels there are; a layout engine would draw everything twice.
        figure.subplots_adjust(left=0.135, right=0.965, bottom=0.135, top=0.975)
        yield figure, done
        buffer = io.StringIO()
        figure.savefig(
            buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None}
        )
    done.append(_for_a_page(buffer.getvalue(), name))


def _for_a_page(svg: str, name: str) -> str:
    """matplotlib's SVG without its prologue, style sheet and fonts, in the page's colours.

    Its names are made the page's own, as a page may hold several charts.
    """
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", svg, flags=re.DOTALL)
    referenced = set(re.findall(r"#([A-Za-z][\w.-]*)", svg))
    svg = re.sub(
        r' id="([^"]*)"',
        lambda match: f' id="{name}-{match[1]}"' if match[1] in referenced else "",
        svg,
    )
    svg = re.sub(r'(url\(#|href="#)', rf"\g<1>{name}-", svg)
    svg = re.sub(r"font-family: [^;\"]*;?|font: [\d.]+px [^;\"]*;?", "", svg)
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, f"var({variable})")
    opening = svg[: svg.index(">")]
    view_box = re.search(r'viewBox="([^"]*)"', opening)
    assert view_box is not None
    body = svg[svg.index(">") + 1 :].strip()
    return (
        f'<svg class="chart" viewBox="{view_box[1]}" role="img" aria-labelledby="chart-{name}">\n'
        + re.sub(r"\n\s*\n", "\n", body)
    )


@dataclass(frozen=True)
class _Curve:
    """A label against the rest: (messages,) whether each is of it, and its probability."""

    label: str
    colour: str
    is_label: npt.NDArray[np.bool_]
    probability: Probabilities


def _curves(
    truth: Sequence[str], probabilities: Probabilities, labels: Sequence[str], positive_label: str
) -> Iterator[_Curve]:
    """The curves of labels that occur; of two labels one, and more than six nobody can read."""
    wanted = [positive_label] if len(labels) == 2 else list(labels)[: len(_SERIES)]
    for label, colour in zip(wanted, _SERIES, strict=False):
        is_label = np.array([each == label for each in truth], dtype=bool)
        if is_label.any():
            yield _Curve(label, colour, is_label, probabilities[:, list(labels).index(label)])


def _mark(axes: Axes, point: tuple[float, float] | None) -> None:
    if point is not None:
        axes.plot(
            *point,
            "o",
            color=_SERIES[0],
            markersize=8,
            markeredgecolor=_PAPER,
            markeredgewidth=2,
            clip_on=False,
            zorder=5,
        )


def _unit_square(axes: Axes) -> None:
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    axes.xaxis.set_major_formatter(_PERCENT)
    axes.yaxis.set_major_formatter(_PERCENT)


def _legend(axes: Axes, labels: Sequence[str], place: Any) -> None:
    if len(labels) > 2:
        axes.legend(loc=place)


def _other(labels: Sequence[str], positive_label: str) -> str:
    return next(label for label in labels if label != positive_label)


def _short(label: str) -> str:
    """A label as an axis can hold it."""
    from spamgpt.printable import printable

    shown = printable(label)
    return shown if len(shown) <= 24 else shown[:23] + "…"
