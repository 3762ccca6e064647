import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from spamgpt.evaluation.report.content import Highlight, Mistake, render, surest_mistakes


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
    (kept, lost), (missed, caught) = report.metrics["confusion_matrix"]
    header = words(Outline(render(report)).sections["header"])
    assert (
        f"It catches {caught / (missed + caught):.1%} of spam and loses "
        f"{lost / (kept + lost):.1%} of ham." in header
    )
    assert f"it caught {caught}; of {kept + lost} ham messages it took {lost} for spam" in header


@pytest.mark.parametrize(
    ("interval", "said"),
    [
        ([0.01, 0.05], "ahead of all of them"),
        ([-0.05, -0.01], "TF-IDF + linear SVM is ahead"),
        ([-0.01, 0.05], "Chance alone could explain"),
    ],
)
def test_a_baseline_that_wins_is_said_to_win(make_report, interval, said):
    report = make_report()
    report.metrics["baselines"][0]["difference"]["accuracy"]["interval"] = interval
    assert said in words(Outline(render(report)).sections["baselines"])


def test_messages_seen_in_training_raise_an_alarm(make_report):
    report = make_report()
    assert "flatter" not in render(report)
    report.metrics["seen_in_training"] = 7
    page = render(report)
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
    report = make_report(suspects=None, history=None, mistakes=[], lineage=[], explained_by=None)
    del report.metrics["baselines"]
    report.metrics.update(slices=[], worst_slice=None, operating_points=[])
    report.metrics.update(roc_auc=None, average_precision=None)
    report.metrics["intervals"].update(roc_auc=None, average_precision=None)
    sections = Outline(render(report)).sections
    assert {"baselines", "slices", "training"}.isdisjoint(sections)
    assert "Not checked" in sections["label-errors"]
    assert "ROC-AUC how often a spam message ranks above another none" in words(sections["scores"])


def test_messages_of_one_label_only_can_be_reported(make_report):
    report = make_report()
    count = len(report.truth)
    for label, messages in (("ham", count), ("spam", 0)):
        report.metrics["labels"][label]["messages"] = messages
    report.metrics["confusion_matrix"] = [[count - 3, 3], [0, 0]]
    page = render(replace(report, truth=["ham"] * count))
    assert f"It loses {3 / count:.1%} of ham." in page


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


def test_the_surest_mistakes_of_each_answer_come_first():
    texts = [f"m{n}" for n in range(40)]
    truth = ["ham", "spam"] * 20
    predicted = ["spam", "ham"] * 20
    probability = np.linspace(0.5, 0.99, 40)
    of_spam = np.where(np.array(predicted) == "spam", probability, 1 - probability)
    rows = np.stack([1 - of_spam, of_spam], axis=1)
    found = surest_mistakes(texts, truth, predicted, rows, ["ham", "spam"])
    assert [mistake.text for mistake in found[:2]] == ["m38", "m36"]
    assert [mistake.predicted for mistake in found] == ["spam"] * 6 + ["ham"] * 6
    assert found[0].probability == pytest.approx(probability[38])
    assert surest_mistakes(texts, truth, truth, rows, ["ham", "spam"]) == []
