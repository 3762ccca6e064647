"""Pictures of training, drawn with matplotlib without a screen."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

_COLOURS = {"training": "#1f77b4", "validation": "#d95f02"}


def draw_curves(history: pd.DataFrame, kept_epoch: int, path: Path) -> None:
    """Draws loss and accuracy against the epoch, with the epoch that was kept marked.

    `history` has the columns of `EpochRecord`.
    """
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    loss, accuracy = figure.subplots(1, 2)
    _draw(loss, history, "loss", kept_epoch)
    loss.set_ylim(bottom=0)
    loss.set_title("Cross-entropy loss (nats a message)")
    _draw(accuracy, history, "accuracy", kept_epoch)
    accuracy.set_title("Accuracy")
    accuracy.yaxis.set_major_formatter(PercentFormatter(xmax=1))
    # Where rising curves are not: to look for the best place, matplotlib may take seconds.
    accuracy.legend(frameon=False, loc="lower right")
    figure.savefig(path, dpi=150, format="png")


def draw_periodic(records: pd.DataFrame, epochs: int, path: Path) -> None:
    """Draws what the published experiment measured on the way, in the form of its own figures.

    `records` has the columns of `PeriodicRecord`. As there, the points are spread evenly over the
    epochs, and a second axis counts the messages seen.
    """
    figure = Figure(figsize=(10, 3), layout="constrained")
    seen = int(records["messages_seen"].max())
    for axes, measure in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        points = records[records["measure"] == measure]
        along = np.linspace(0, epochs, len(points))
        for split, style in (("training", "-"), ("validation", "-.")):
            label = f"{split.capitalize()} {measure}"
            axes.plot(along, points[split], style, color=_COLOURS[split], label=label)
        axes.set_xlabel("Epochs")
        axes.set_ylabel(measure.capitalize())
        axes.legend(loc="upper right" if measure == "loss" else "lower right")
        above = axes.twiny()
        above.plot(np.linspace(0, seen, len(points)), points["training"], alpha=0)
        above.set_xlabel("Examples seen")
    figure.savefig(path, dpi=150, format="png")


def _draw(axes: Axes, history: pd.DataFrame, measure: str, kept_epoch: int) -> None:
    for split, colour in _COLOURS.items():
        axes.plot(history["epoch"], history[f"{split}_{measure}"], "o-", color=colour, label=split)
    axes.axvline(kept_epoch, color="#888888", linestyle=":", zorder=0, label="kept")
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
