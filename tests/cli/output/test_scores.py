import json
import re
import sys
from dataclasses import replace

import pytest

from spamgpt.cli.output.scores import show_metrics
from spamgpt.evaluation.intervals import Difference, McNemar
from spamgpt.evaluation.metrics import ACCURACY, METRICS, Metric
from spamgpt.stages import evaluate, fetch, finetune, prepare
from spamgpt.workspace import Workspace


@pytest.fixture
def evaluated(trained_workspace):
    return lambda **settings: evaluate.run(
        evaluate.EvaluateSettings(device="cpu", **settings), Workspace(trained_workspace)
    )


@pytest.fixture
def show(monkeypatch, capsys):
    """What is printed at 80 columns, on a terminal or into a pipe."""

    def shown(function, *arguments, terminal=False, no_color=False) -> str:
        monkeypatch.setenv("COLUMNS", "80")
        monkeypatch.setenv("TERM", "xterm-256color")
        monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal, raising=False)
        if no_color:
            monkeypatch.setenv("NO_COLOR", "1")
        else:
            monkeypatch.delenv("NO_COLOR", raising=False)
        function(*arguments)
        return capsys.readouterr().out

    return shown


RED = "\x1b[1;31m"


@pytest.fixture
def many_labels(tmp_path, make_model):
    """An evaluation with 14 labels that have long names."""
    names = [f"{name}-department-{n}" for n in range(7) for name in ("billing", "returns")]
    file = tmp_path / "queues.tsv"
    file.write_text("".join(f"{name}\tabout {name} {n}\n" for n in range(20) for name in names))
    workspace = Workspace(tmp_path / "workspace")
    fetch.run(fetch.FetchSettings(str(file), str(make_model())), workspace)
    prepare.run(prepare.PrepareSettings(), workspace)
    finetune.run(finetune.FinetuneSettings(epochs=1, device="cpu"), workspace)
    return evaluate.run(evaluate.EvaluateSettings(device="cpu"), workspace)


def test_scores_have_intervals_and_fit_80_columns(evaluated, show):
    artifact, evaluation = evaluated(baseline=True)
    out = show(show_metrics, artifact, evaluation)
    assert max(map(len, out.splitlines())) <= 80
    assert "\x1b" not in out
    accuracy, low, high = (
        float(number)
        for number in re.search(r"accuracy +([\d.]+)% +([\d.]+) to ([\d.]+)", out).groups()
    )
    assert accuracy == round(100 * evaluation.scores.accuracy, 2)
    assert [low, high] == [round(100 * end, 1) for end in evaluation.intervals[ACCURACY]]
    for words in ("ROC-AUC", "Brier", "calibration error", "recall of spam", "TF-IDF, linear SVM"):
        assert words in out
    assert "It was trained on none of them." in out
    assert "ours is ahead by" in out


def test_with_many_labels_nothing_is_cut(many_labels, show):
    artifact, evaluation = many_labels
    scores = evaluation.scores
    out = show(show_metrics, artifact, evaluation)
    assert max(map(len, out.splitlines())) <= 80
    assert "…" not in out
    # Names are broken over lines, not shortened.
    lines = out[out.index("label ") :].splitlines()[1:15]
    names = "".join(line.split("  ")[0].rstrip() for line in lines)
    assert names.startswith("".join(scores.labels)[: len(names)])
    assert max(len(line.split("  ")[0]) for line in lines) < len("billing-department-0")
    wrong = sum(map(sum, scores.confusion_matrix)) - sum(
        row[index] for index, row in enumerate(scores.confusion_matrix)
    )
    listed = out[out.index("taken for") :].splitlines()[1:]
    counts = [
        int(re.search(r"\s(\d+)\s", line)[1]) for line in listed if re.search(r"\s\d+\s", line)
    ]
    assert sum(counts) == wrong > 0


def test_messages_that_were_trained_on_are_told_in_red(evaluated, show):
    artifact, evaluation = evaluated(split="train")
    line = "It was trained on 84 of them"
    assert f"{RED}{line}" in show(show_metrics, artifact, evaluation, terminal=True)
    plain = show(show_metrics, artifact, evaluation, terminal=True, no_color=True)
    assert line in plain
    assert "31m" not in plain
    assert f"\n{line}" in show(show_metrics, artifact, evaluation)


def test_a_label_cannot_steer_the_terminal_or_be_markup(evaluated, show):
    artifact, evaluation = evaluated()
    scores, intervals = evaluation.scores, evaluation.intervals
    for name in ("\x1b[31mred", "[bold]loud[/]"):
        renamed = replace(
            evaluation,
            scores=replace(
                scores,
                positive_label=name,
                labels={"ham": scores.labels["ham"], name: scores.labels["spam"]},
            ),
            intervals=replace(
                intervals,
                labels={"ham": intervals.labels["ham"], name: intervals.labels["spam"]},
            ),
        )
        out = show(show_metrics, artifact, renamed)
        assert "\x1b" not in out
        if name.startswith("["):
            assert "[bold]" in out


def test_a_metric_is_one_entry_of_the_registry(evaluated, show, monkeypatch):
    metric = Metric("caution", "caution", "how rarely {positive} is said", lambda outcome: 0.25)
    monkeypatch.setitem(METRICS, metric.key, metric)
    artifact, evaluation = evaluated()
    assert re.search(r"^caution +0\.2500 *$", show(show_metrics, artifact, evaluation), re.M)
    assert json.loads(artifact.file("metrics.json").read_text())["caution"] == 0.25
    page = artifact.file("report.html").read_text()
    assert "how rarely spam is said" in page


def test_the_test_that_is_quoted_decides_who_is_ahead(evaluated, show):
    artifact, evaluation = evaluated(baseline=True)
    best = replace(evaluation.baselines[-1], name="rival")
    for test, ahead, sure in (
        # As the bootstrap has it of five messages that only one got right.
        (McNemar(5, 0, 0.0625), (0.02, 0.4), "no more than chance could explain"),
        (McNemar(9, 0, 0.0039), (-0.1, 0.5), "more than chance explains"),
    ):
        difference = {**best.differences, "accuracy": Difference(0.2, ahead)}
        baseline = replace(best, mcnemar=test, differences=difference)
        out = show(show_metrics, artifact, replace(evaluation, baselines=(baseline,)))
        last = " ".join(out[out.rindex("classifiers/v1 is ahead") :].split())
        assert f" points, {sure} (McNemar's test: p = {test.p_value:.2g})." in last


def test_a_comparison_is_a_row_for_each_and_one_for_each_pair(spamgpt, trained_workspace):
    workspace = ("-w", trained_workspace)
    spamgpt("finetune", "--epochs", 1, "--unfreeze", "head", *workspace)
    result = spamgpt("compare", "v1", "v2", *workspace)
    assert result.status == 0
    lines = result.out.splitlines()
    assert lines[0] == "test split of prepared/v1, 24 messages"
    assert max(map(len, lines)) <= 80
    assert sum(line.startswith("classifiers/v") for line in lines) == 5
    assert "McNemar" in result.out
    found = json.loads(spamgpt("compare", "v1", "v2", "--json", *workspace).out)
    assert found["pairs"][0]["first"] == "classifiers/v1"
    assert spamgpt("compare", "v1", *workspace).status == 2


def test_evaluate_takes_a_baseline_and_says_who_is_ahead(spamgpt, trained_workspace):
    result = spamgpt("evaluate", "--baseline", "-w", trained_workspace)
    assert "majority label" in result.out
    assert "in accuracy" in result.out or "equally accurate" in result.out
    metrics = json.loads(spamgpt("evaluate", "--baseline", "--json", "-w", trained_workspace).out)
    assert [baseline["name"] for baseline in metrics["baselines"]][-1] == "majority label"


def test_json_alone_leaves_the_extras_of_the_report_out(spamgpt, trained_workspace):
    def settings(*options) -> dict[str, bool]:
        assert spamgpt("evaluate", "--json", *options, "-w", trained_workspace).status == 0
        made = Workspace(trained_workspace).newest("evaluations").settings
        return {name: made[name] for name in ("explain_mistakes", "check_labels")}

    assert settings() == {"explain_mistakes": False, "check_labels": False}
    asked = settings("--explain-mistakes", "--check-labels")
    assert asked == {"explain_mistakes": True, "check_labels": True}
    spamgpt("evaluate", "--no-check-labels", "-w", trained_workspace)
    made = Workspace(trained_workspace).newest("evaluations").settings
    assert (made["explain_mistakes"], made["check_labels"]) == (True, False)


def test_finetune_says_what_the_validation_split_set(spamgpt, trained_workspace):
    arguments = ("finetune", "--epochs", 1, "-w", trained_workspace)
    protects = (
        r"threshold +[\d.]+ for at most 1% of ham lost: catches [\d.]+% of spam, loses 0 of 8"
    )
    assert re.search(protects, spamgpt(*arguments).out)
    assert "for the best F1: catches" in spamgpt(*arguments, "--threshold-for", "f1").out
    result = spamgpt(*arguments, "--max-false-positive-rate", "10%")
    assert "for at most 10% of ham lost" in result.out
    both = spamgpt(*arguments, "--max-false-positive-rate", "10%", "--threshold-for", "accuracy")
    assert both.status == 2
    assert "--max-false-positive-rate 10% and --threshold-for accuracy contradict" in both.err
    wrong = spamgpt(*arguments, "--max-false-positive-rate", "0.5")
    assert wrong.status == 2
    assert "--max-false-positive-rate 0.5%" in wrong.err


def test_evaluate_says_where_the_report_lies(spamgpt, trained_workspace):
    told = spamgpt("evaluate", "-w", trained_workspace)
    page = trained_workspace / "evaluations" / "v1" / "report.html"
    assert f"Report, for a browser: {page}" in told.err
    assert page.exists()
