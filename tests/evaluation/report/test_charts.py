import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from spamgpt.evaluation.report import charts

LABELS = ["ham", "spam"]
TRUTH = ["ham", "spam"] * 20
SPAM = np.clip(np.tile([0.2, 0.7], 20) + np.linspace(-0.2, 0.3, 40), 0, 1)
PROBABILITIES = np.stack([1 - SPAM, SPAM], axis=1)
GIVEN = (TRUTH, PROBABILITIES, LABELS, "spam")
BINARY = [
    charts.roc_chart,
    charts.precision_recall_chart,
    charts.calibration_chart,
    charts.score_chart,
]


@pytest.mark.parametrize("draw", BINARY)
def test_a_chart_is_wellformed_and_has_the_colours_and_letters_of_its_page(draw):
    svg = draw(*GIVEN)
    assert svg == draw(*GIVEN)
    ElementTree.fromstring(svg.replace("xlink:", ""))
    assert not re.search(r"font-family|<style|<metadata|<!--|<!DOCTYPE", svg)
    painted = re.findall(r"(?:fill|stroke): ([^;\"]+)", svg)
    assert {paint for paint in painted if paint != "none"} == {
        paint for paint in painted if paint.startswith("var(--")
    }
    assert "spam" in "".join(re.findall(r"<text[^>]*>([^<]*)", svg))


def test_charts_on_one_page_share_no_names():
    names = [set(re.findall(r' id="([^"]*)"', draw(*GIVEN))) for draw in BINARY]
    assert sum(map(len, names)) == len(set.union(*names))


def test_every_reference_has_its_target():
    for draw in BINARY:
        svg = draw(*GIVEN)
        targets = set(re.findall(r' id="([^"]*)"', svg))
        assert set(re.findall(r'(?:url\(|href=")#([\w.-]+)', svg)) <= targets


def test_labels_are_text_whatever_they_hold():
    labels = ["$x^{", "<b>\x1b"]
    svg = charts.roc_chart(
        [labels[name == "spam"] for name in TRUTH], PROBABILITIES, labels, "$x^{"
    )
    assert "$x^{ caught" in svg
    assert r"&lt;b&gt;\u001b lost" in svg


@pytest.mark.parametrize("draw", BINARY)
def test_messages_of_one_label_and_many_labels_can_be_drawn(draw):
    assert draw(["ham"] * 40, PROBABILITIES, LABELS, "spam").startswith("<svg")
    names = list("abcdefgh")
    rows = np.random.default_rng(1).dirichlet(np.ones(8), 40)
    assert draw([names[n % 8] for n in range(40)], rows, names, "h").startswith("<svg")
