import numpy as np
import pandas as pd
import pytest

from spamgpt.evaluation.intervals import mcnemar
from spamgpt.evaluation.sweeps import SweepTable, SweptRow, Trained, draw_sweep

PUBLISHED = {"train": 96.63, "validation": 99.33, "test": 95.0}


def trained(seed: int, right: int, messages: int = 100) -> Trained:
    correct = np.arange(messages) < right
    accuracy = {"train": 1.0, "validation": 0.5, "test": right / messages}
    return Trained(seed, f"classifiers/v{seed}", f"evaluations/v{seed}", accuracy, correct, 2.0)


def row(name: str, *right: int, published=None) -> SweptRow:
    runs = [trained(seed, count) for seed, count in enumerate(right, start=1)]
    return SweptRow(name, 1234 if runs else None, runs, None if runs else "no model", published)


def table(*rows: SweptRow) -> SweepTable:
    return SweepTable.of([1, 2, 3], rows)


def test_a_row_has_mean_and_deviation_over_the_seeds():
    frame = table(row("a", 90, 92, 94), row("b", 95, 95, 95)).to_frame()
    assert frame["test_accuracy"].tolist() == pytest.approx([0.92, 0.95])
    assert frame["test_deviation"].tolist() == pytest.approx([0.02, 0.0])
    assert frame["seconds"].tolist() == [2.0, 2.0]
    assert frame["trained_parameters"].tolist() == [1234, 1234]


def test_the_first_row_that_was_run_is_compared_with_the_others():
    found = table(row("missing"), row("a", 80, 81, 80), row("b", 95, 96, 96), row("c", 81, 80, 80))
    assert found.first == "a"
    assert found.differences.keys() == {"b", "c"}
    assert found.differences["b"].value == pytest.approx(0.1533, abs=1e-4)
    assert found.differences["b"].significant
    assert not found.differences["c"].significant
    assert found.verdict().startswith("Compared with a: b is more accurate (p < 0.05 in Student's")


def test_one_seed_is_judged_by_the_messages():
    rows = [row("a", 50), row("b", 90)]
    found = SweepTable.of([1], rows)
    expected = mcnemar(rows[1].runs[0].correct, rows[0].runs[0].correct).p_value
    assert found.differences["b"].p_value == expected
    assert "McNemar" in found.verdict()
    assert found.to_frame()["test_deviation"].isna().all()


def test_the_markdown_table_tells_what_was_not_run_and_what_was_published():
    text = table(row("a|1", 90, 90, 90, published=PUBLISHED), row("gone")).to_markdown()
    lines = text.splitlines()
    assert lines[0].endswith("| published test, % |")
    assert "| a\\|1 | 1,234 | 100.00±0.00 | 50.00±0.00 | 90.00±0.00 | 2.0 |  | 95.00 |" in lines
    assert "- gone: not run; no model" in lines
    assert lines[-1] == "There is nothing to compare."


def test_each_run_has_a_line_with_its_artifacts():
    frame = table(row("a", 90, 91, 92)).runs_frame()
    assert frame["classifier"].tolist() == [f"classifiers/v{seed}" for seed in (1, 2, 3)]
    assert isinstance(frame, pd.DataFrame)
    assert frame["test_accuracy"].tolist() == [0.9, 0.91, 0.92]


def test_the_chart_has_rows_that_were_only_published(tmp_path):
    found = table(row("a", 90, 91, 92, published=PUBLISHED), row("gone", published=PUBLISHED))
    draw_sweep(found, tmp_path / "chart.png")
    assert (tmp_path / "chart.png").stat().st_size > 5_000
