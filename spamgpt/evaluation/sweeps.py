"""The table of a sweep: a row for each combination of settings, its scores over the seeds.

Also as CSV, as Markdown and as a chart. Which runs are made is not decided here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from spamgpt.data.rows import SPLITS
from spamgpt.evaluation.intervals import LEVEL, mcnemar
from spamgpt.evaluation.paired import holm, paired_t_test
from spamgpt.markdown import as_markdown, table


@dataclass(frozen=True)
class Trained:
    """What one seed gave: the accuracy on each split, and which test messages were right.

    `seconds` are those of training.
    """

    seed: int
    classifier: str
    evaluation: str
    accuracy: Mapping[str, float]
    correct: npt.NDArray[np.bool_]
    seconds: float


@dataclass(frozen=True)
class SweptRow:
    """A row: its runs or, if it was `not_run`, why. `published` is in percent, by split."""

    name: str
    trained_parameters: int | None
    runs: Sequence[Trained]
    not_run: str | None = None
    published: Mapping[str, float] | None = None

    def spread(self, split: str) -> tuple[float, float | None]:
        """Mean and standard deviation of the accuracy; no deviation of one seed."""
        return mean_and_deviation([run.accuracy[split] for run in self.runs])


@dataclass(frozen=True)
class Difference:
    """How far a row is from the first one in test accuracy.

    `adjusted` is the p-value with Holm's correction for the number of rows.
    """

    value: float
    p_value: float
    adjusted: float

    @property
    def significant(self) -> bool:
        """Whether it is larger than chance."""
        return self.adjusted < 1 - LEVEL


@dataclass(frozen=True)
class SweepTable:
    """All rows; each that was run is compared with the first that was."""

    seeds: Sequence[int]
    rows: Sequence[SweptRow]
    differences: Mapping[str, Difference]

    @classmethod
    def of(cls, seeds: Sequence[int], rows: Sequence[SweptRow]) -> "SweepTable":
        """Compares the rows over their seeds or, with one seed, over the test messages."""
        run = [row for row in rows if row.runs]
        p_values = [_p_value(row, run[0]) for row in run[1:]]
        differences = {
            row.name: Difference(
                row.spread("test")[0] - run[0].spread("test")[0], p_value, adjusted
            )
            for row, p_value, adjusted in zip(run[1:], p_values, holm(p_values), strict=True)
        }
        return cls(seeds, rows, differences)

    @property
    def first(self) -> str | None:
        """The name of the row that the others are compared with."""
        return next((row.name for row in self.rows if row.runs), None)

    @property
    def test(self) -> str:
        """Which test tells a difference from chance."""
        if len(self.seeds) > 1:
            return f"Student's paired t-test over {len(self.seeds)} seeds"
        return "McNemar's test over the test messages"

    @property
    def has_published(self) -> bool:
        """Whether others' results stand beside."""
        return any(row.published for row in self.rows)

    def verdict(self) -> str:
        """Which rows differ from the first by more than chance, in one sentence or two."""
        ahead = [n for n, each in self.differences.items() if each.significant and each.value > 0]
        behind = [n for n, each in self.differences.items() if each.significant and each.value < 0]
        if not self.differences:
            return "There is nothing to compare."
        parts = [
            f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} {word}"
            for names, word in ((ahead, "more accurate"), (behind, "less accurate"))
            if names
        ]
        told = " and ".join(parts) or "no difference is larger than chance"
        return (
            f"Compared with {self.first}: {told} (p < {1 - LEVEL:.2f} in {self.test}, with Holm's "
            "correction for the number of rows)."
        )

    def to_frame(self) -> pd.DataFrame:
        """A line for each row: shares from 0 to 1, empty where there is none."""
        return pd.DataFrame([self._record(row) for row in self.rows])

    def _record(self, row: SweptRow) -> dict[str, Any]:
        record: dict[str, Any] = {"run": row.name, "seeds": len(row.runs)}
        record["trained_parameters"] = row.trained_parameters
        for split in SPLITS:
            value, deviation = row.spread(split) if row.runs else (None, None)
            record |= {f"{split}_accuracy": value, f"{split}_deviation": deviation}
        times = mean_and_deviation([run.seconds for run in row.runs]) if row.runs else (None, None)
        record |= {"seconds": times[0], "seconds_deviation": times[1]}
        found = self.differences.get(row.name)
        record |= {
            "difference": found.value if found else None,
            "p_value": found.p_value if found else None,
            "p_value_adjusted": found.adjusted if found else None,
        }
        if self.has_published:
            published = row.published or {}
            record |= {
                f"published_{split}": published[split] / 100 if published else None
                for split in SPLITS
            }
        return record | {"not_run": row.not_run}

    def runs_frame(self) -> pd.DataFrame:
        """A line for each run of each seed."""
        return pd.DataFrame(
            [
                {
                    "run": row.name,
                    "seed": run.seed,
                    "classifier": run.classifier,
                    "evaluation": run.evaluation,
                    **{f"{split}_accuracy": run.accuracy[split] for split in SPLITS},
                    "seconds": run.seconds,
                }
                for row in self.rows
                for run in row.runs
            ]
        )

    def to_markdown(self) -> str:
        """The table and the verdict as a Markdown document."""
        missing = "\n".join(
            f"- {as_markdown(f'{row.name}: not run; {row.not_run}')}"
            for row in self.rows
            if row.not_run
        )
        parts = (table(*self.cells()), missing, as_markdown(self.verdict()))
        return "\n\n".join(part for part in parts if part) + "\n"

    def cells(self) -> tuple[list[str], list[list[str]]]:
        """The names of the columns and the rows, as text for a screen or a document."""
        columns = ["run", "trained", *(f"{split}, %" for split in SPLITS), "s", "p"]
        if self.has_published:
            columns.append("published test, %")
        rows = []
        for row in self.rows:
            found = self.differences.get(row.name)
            cells = [row.name, f"{row.trained_parameters or 0:,}" if row.runs else "-"]
            if row.runs:
                cells += [percent(*row.spread(split)) for split in SPLITS]
                cells.append(f"{mean(run.seconds for run in row.runs):.1f}")
            else:
                cells += ["not run", "", "", ""]
            mark = "*" if found and found.significant else ""
            cells.append(p_value_in_words(found.p_value) + mark if found else "")
            if self.has_published:
                cells.append(f"{row.published['test']:.2f}" if row.published else "")
            rows.append(cells)
        return columns, rows


def _p_value(row: SweptRow, first: SweptRow) -> float:
    if len(row.runs) == 1:
        return mcnemar(row.runs[0].correct, first.runs[0].correct).p_value
    ours, theirs = ([run.accuracy["test"] for run in each.runs] for each in (row, first))
    return paired_t_test(ours, theirs, len(row.runs[0].correct))


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float | None]:
    """The mean and, of two or more, the standard deviation of the sample."""
    return mean(values), stdev(values) if len(values) > 1 else None


def percent(value: float, deviation: float | None) -> str:
    """`95.67±0.33`, or `95.67` of one seed; no spaces, so that no screen breaks it."""
    return f"{value:.2%}"[:-1] + (f"±{deviation:.2%}"[:-1] if deviation is not None else "")


def p_value_in_words(p_value: float) -> str:
    """Four digits, or that it is less."""
    return "<0.0001" if p_value < 0.0001 else f"{p_value:.4f}"


def draw_sweep(table: SweepTable, path: Path) -> None:
    """Draws the test accuracy of each row, its standard deviation, and what was published."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import PercentFormatter

    rows = [row for row in table.rows if row.runs or row.published]
    figure = Figure(figsize=(8, 1.2 + 0.32 * len(rows)), layout="constrained")
    axes = figure.subplots()
    for place, row in enumerate(rows):
        if row.runs:
            value, deviation = row.spread("test")
            axes.errorbar(value, place, xerr=deviation, fmt="o", color="#1f77b4", capsize=3)
        if row.published:
            axes.plot(row.published["test"] / 100, place, "x", color="#d95f02")
    axes.plot([], [], "o", color="#1f77b4", label="here, ± standard deviation")
    if table.has_published:
        axes.plot([], [], "x", color="#d95f02", label="published")
    axes.set_yticks(range(len(rows)), [row.name for row in rows])
    axes.invert_yaxis()
    axes.set_xlabel("Test accuracy")
    axes.xaxis.set_major_formatter(PercentFormatter(xmax=1))
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="best")
    figure.savefig(path, dpi=150, format="png")
