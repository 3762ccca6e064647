from dataclasses import replace

from spamgpt.evaluation.metrics import METRICS
from spamgpt.evaluation.report.content import content_of


def test_of_two_labels_every_metric_is_told_of_more_only_those_of_all(make_report):
    two = content_of(make_report())
    assert [row.name for row in two.scores] == [m.title("spam") for m in METRICS.values()]
    assert all(row.name in [each.name for each in two.scores] for row in two.key_figures)
    four = content_of(make_report(labels=("a", "b", "c", "d")))
    names = [row.name for row in four.scores]
    assert names == [m.name for m in METRICS.values() if not m.of_positive]
    assert "one label against the rest, the mean of the labels" in [r.meaning for r in four.scores]
    assert four.point_rows == []


def test_bars_are_for_scores_from_zero_to_one(make_report):
    bars = {row.name: row.has_bar for row in content_of(make_report()).scores}
    assert bars["accuracy"]
    assert bars["ROC-AUC"]
    assert not bars["loss"]
    assert not bars["Matthews correlation"]


def test_the_classifier_stands_above_the_simpler_models(make_report):
    own, other = content_of(make_report()).baseline_rows
    assert own.name == "classifiers/v1"
    assert own.difference is None
    assert other.difference.value == 0.02


def test_without_baselines_nothing_is_said_of_them(make_report):
    report = make_report()
    without = replace(report, evaluation=replace(report.evaluation, baselines=None))
    assert content_of(without).baseline_rows == []
    assert content_of(without).baseline_note == ""
