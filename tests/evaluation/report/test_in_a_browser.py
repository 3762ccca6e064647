"""The page as Chromium shows it."""

import io

import numpy as np
import pytest
from PIL import Image

from spamgpt.evaluation.report.page import render

MANY = tuple("abcdefghij")
LONG = ("ham of a kind that has a very long name " * 2, "spam_without_any_space_in_its_name" * 3)


@pytest.fixture(scope="module")
def page_file(tmp_path_factory, make_report):
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(render(make_report()), encoding="utf-8")
    return path


def brightness(browser) -> float:
    """The brightness of the page's paper, 0 to 255."""
    return float(np.asarray(Image.open(io.BytesIO(browser.picture())).convert("L"))[2, 2])


@pytest.mark.parametrize("width", [1280, 390])
def test_hostile_messages_are_shown_and_nothing_is_run_or_asked_for(browser, page_file, width):
    page = browser.look(page_file, width)
    assert page.console == []
    outside = [url for url in page.requests if not url.startswith("data:")]
    assert outside == [page_file.as_uri()]
    assert page.title == "classifiers/v1 on the test split"
    assert "<script>document.title = 'owned'" in page.text
    assert "</style></blockquote><img" in page.text
    assert "{{ 7 * 7 }} {% raw %} &lt;b&gt; --> <!-- ]]>" in page.text
    assert r"\u001b[2J\u0000\u0008 bell \u0007 \u202egnp.exe\u2066 \ud800 half" in page.text
    assert browser.run("return document.querySelectorAll('script, img, iframe, form').length") == 0


@pytest.mark.parametrize("labels", [("ham", "spam"), MANY, LONG], ids=["two", "ten", "long"])
def test_nothing_is_wider_than_the_window(browser, tmp_path, make_report, labels):
    path = tmp_path / "report.html"
    path.write_text(render(make_report(labels)), encoding="utf-8")
    for width in (1280, 390, 320):
        page = browser.look(path, width)
        assert page.scroll_width <= width
        assert page.console == []


def test_with_two_labels_every_table_fits_a_phone_without_scrolling(browser, page_file):
    browser.look(page_file, 390)
    wide = browser.run(
        "return [...document.querySelectorAll('.scroll')]"
        ".filter(box => box.scrollWidth > box.clientWidth).map(box => box.textContent)"
    )
    assert wide == []


def test_the_page_is_dark_where_that_is_wanted_and_light_on_paper(browser, page_file):
    for scheme, media, least, most in (
        ("light", "screen", 240, 255),
        ("dark", "screen", 0, 40),
        ("dark", "print", 240, 255),
    ):
        browser.look(page_file, scheme=scheme, media=media)
        assert least <= brightness(browser) <= most


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_in_charts_can_be_read_against_the_page(browser, page_file, scheme):
    browser.look(page_file, scheme=scheme)
    ratio = browser.run(
        """
        const light = colour => colour.match(/[\\d.]+/g).slice(0, 3).map(Number).map(c => c / 255)
            .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
            .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
        const paper = light(getComputedStyle(document.documentElement).backgroundColor);
        return Math.min(...[...document.querySelectorAll('svg.chart text')].map(text => {
            const ink = light(getComputedStyle(text).fill);
            return (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
        }));
        """
    )
    # WCAG 2, success criterion 1.4.3.
    assert ratio >= 4.5
