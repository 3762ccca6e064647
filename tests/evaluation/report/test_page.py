import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from spamgpt.evaluation.intervals import Difference, McNemar
from spamgpt.evaluation.label_errors import LabelCheck
from spamgpt.evaluation.metrics import METRICS, Metric, compute_metrics
from spamgpt.evaluation.mistakes import Highlight, Mistake
from spamgpt.evaluation.report.page import render


class Outline(HTMLParser):
    """The text of a page by section, what it would ask for, and what is marked."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.sections: dict[str, str] = {}
        self.asked: list[str] = []
        self.marks: list[tuple[str, str]] = []
        self._section = "header"
        self._mark = ""
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        if tag == "section":
            self._section = given["id"]
        for name in ("src", "href", "action", "data", "xlink:href", "srcset"):
            if name in given and not given[name].startswith(("#", "data:")):
                self.asked.append(given[name])
        self._mark = given["class"] if tag == "mark" else ""

    def handle_data(self, data):
        self.sections[self._section] = self.sections.get(self._section, "") + data + " "
        if self._mark:
            self.marks.append((self._mark, data))
            self._mark = ""


def words(text: str) -> str:
    return re.sub(r"\s+", " ", text)


def test_the_same_report_gives_the_same_bytes_and_another_others(make_report):
    assert render(make_report()) == render(make_report())
    assert render(make_report()) != render(make_report(kept_epoch=1))


def test_the_page_asks_for_nothing(make_report):
    page = render(make_report())
    assert Outline(page).asked == []
    assert not re.search(r"@import|url\((?!#)", page)
    assert "default-src 'none'" in page


def test_every_section_has_its_content(make_report):
    sections = Outline(render(make_report())).sections
    assert "It catches " in sections["header"]
    assert "Bundled messages stand in" in sections["header"]
    for section, text in {
        "scores": "no better than chance \N{MINUS SIGN}0.100",
        "labels": "taken for spam",
        "thresholds": "at most 0.1% never 0.0%",
        "probabilities": "after temperature scaling by 1.25",
        "slices": "over 160 characters worst",
        "baselines": "TF-IDF + linear SVM",
        "mistakes": "Against",
        "label-errors": "It doubts 9 of 630 labels",
        "training": "Epoch 2 of 3 was kept",
        "lineage": "split 70/10/20 seed 123",
    }.items():
        assert text.lower() in words(sections[section]).lower(), section


def test_the_verdict_is_counted_from_the_confusion_matrix(make_report):
    report = make_report()
    (kept, lost), (missed, caught) = report.scores.confusion_matrix
    header = words(Outline(render(report)).sections["header"])
    assert (
        f"It catches {caught / (missed + caught):.1%} of spam and loses "
        f"{lost / (kept + lost):.1%} of ham." in header
    )
    assert f"it caught {caught}; of {kept + lost} ham messages it took {lost} for spam" in header


def with_test(report, test: McNemar):
    (baseline,) = report.evaluation.baselines
    return replace(
        report,
        evaluation=replace(report.evaluation, baselines=(replace(baseline, mcnemar=test),)),
    )


@pytest.mark.parametrize(
    ("test", "said"),
    [
        (McNemar(9, 1, 0.021), "ahead of all of them"),
        (McNemar(1, 9, 0.021), "TF-IDF + linear SVM is ahead"),
        (McNemar(5, 3, 0.73), "Chance alone could explain"),
    ],
)
def test_a_baseline_that_wins_is_said_to_win(make_report, test, said):
    section = words(Outline(render(with_test(make_report(), test))).sections["baselines"])
    assert said in section
    assert f"p = {test.p_value:.2g}" in section


def test_the_test_that_is_quoted_decides_and_not_the_interval(make_report):
    report = with_test(make_report(), McNemar(5, 0, 0.0625))
    (baseline,) = report.evaluation.baselines
    # As the bootstrap has it of five messages that only the classifier got right.
    ahead = {"accuracy": Difference(0.056, (0.011, 0.1))}
    told = replace(report.evaluation, baselines=(replace(baseline, differences=ahead),))
    section = Outline(render(replace(report, evaluation=told))).sections["baselines"]
    assert "Chance alone could explain" in words(section)
    assert "p = 0.062" in section


def test_messages_seen_in_training_raise_an_alarm(make_report):
    report = make_report()
    assert "flatter" not in render(report)
    page = render(replace(report, evaluation=replace(report.evaluation, seen_in_training=7)))
    assert "7 of these messages were in the classifier's training data" in words(
        page.replace("&#39;", "'")
    )
    assert 'class="warning alarm"' in page


def test_any_number_of_labels_is_shown(make_report):
    page = render(make_report(labels=("bills", "friends", "news", "offers")))
    sections = Outline(page).sections
    assert re.search(r"It gets \d+\.\d% of the messages right", sections["header"])
    assert "at most" not in sections["thresholds"]
    assert "taken for offers" in words(sections["labels"])


def test_what_is_not_known_is_left_out(make_report):
    report = make_report(history=None, mistakes=[], lineage=[])
    unknown = {"roc_auc": None, "average_precision": None}
    scores, intervals = report.evaluation.scores, report.evaluation.intervals
    evaluation = replace(
        report.evaluation,
        scores=replace(scores, values={**scores.values, **unknown}),
        intervals=replace(intervals, values={**intervals.values, **unknown}),
        operating_points=(),
        slices=(),
        baselines=None,
    )
    sections = Outline(render(replace(report, evaluation=evaluation))).sections
    assert {"baselines", "slices", "training"}.isdisjoint(sections)
    assert "ROC-AUC how often a spam message ranks above another none" in words(sections["scores"])


def test_what_was_not_looked_for_is_told_with_the_reason(make_report):
    report = make_report(explained_by=None, label_check=LabelCheck(not_checked="it was late"))
    sections = Outline(render(report)).sections
    assert "Not checked: it was late." in words(sections["label-errors"])
    assert "was not worked out: that was turned off" in words(sections["mistakes"])
    assert "Against" not in sections["mistakes"]


def test_messages_of_one_label_only_can_be_reported(make_report):
    report = make_report()
    count = report.scores.messages
    outcome = replace(
        report.outcome, truth=["ham"] * count, predicted=["ham"] * (count - 3) + ["spam"] * 3
    )
    evaluation = replace(report.evaluation, scores=compute_metrics(outcome))
    page = render(replace(report, outcome=outcome, evaluation=evaluation))
    assert f"It loses {3 / count:.1%} of ham." in page


def test_a_metric_is_one_entry_of_the_registry(make_report, monkeypatch):
    metric = Metric("caution", "caution", "how rarely {positive} is said", lambda outcome: 0.25)
    monkeypatch.setitem(METRICS, metric.key, metric)
    report = make_report()
    evaluation = replace(report.evaluation, scores=compute_metrics(report.outcome))
    scores = Outline(render(replace(report, evaluation=evaluation))).sections["scores"]
    assert "caution how rarely spam is said 0.250" in words(scores)


def test_highlights_mark_what_spoke_for_and_against_the_answer(make_report):
    mistake = Mistake(
        "<b>free</b> lunch at\x07 noon",
        "ham",
        "spam",
        0.9,
        [Highlight(11, 17, -0.5), Highlight(3, 7, 2.0), Highlight(18, 20, 0.01)],
    )
    page = render(make_report(mistakes=[mistake]))
    marks = Outline(page).marks[2:]  # after the two of the legend
    assert marks == [("for", "free"), ("against", "lunch")]
    assert 'style="--weight:0.25">lunch' in page
    assert "&lt;b&gt;" in page
    assert r"at\u0007 noon" in page


def test_of_a_long_message_the_beginning_is_shown_and_the_rest_counted(make_report):
    mistake = Mistake("x" * 5000, "ham", "spam", 0.9, [Highlight(4990, 5000, 1.0)])
    text = Outline(render(make_report(mistakes=[mistake]))).sections["mistakes"]
    assert 100 < text.count("x" * 10) * 10 < 1000
    assert "more characters" in text
