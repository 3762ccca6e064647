import io

import pytest
from rich.console import Console

from spamgpt.classifier.explanation import Span
from spamgpt.cli.output.highlights import marked, top_words

TEXT = "a free\x1b[31m [bold]prize see you"
SPANS = [
    Span(0, 1, 0.0),
    Span(1, 11, 2.0),
    Span(11, 23, 1.0),
    Span(23, 27, -2.0),
    Span(27, 31, -0.1),
]


@pytest.fixture
def shown():
    """What a terminal gets of the marked text."""

    def show(**options) -> str:
        screen = io.StringIO()
        Console(file=screen, force_terminal=True, width=200, **options).print(marked(TEXT, SPANS))
        return screen.getvalue()

    return show


def test_words_for_and_against_the_answer_have_backgrounds_as_strong_as_their_weights():
    styles = {span.style: text for span, text in _pieces()}
    colours = [_blue_to_red(style) for style in styles if "on #" in style]
    assert len(colours) == 3
    strongest, weaker, against = colours
    assert strongest > weaker > 1 > against


def _pieces():
    text = marked(TEXT, SPANS)
    return [(span, text.plain[span.start : span.end]) for span in text.spans]


def _blue_to_red(style: str) -> float:
    colour = style.rpartition("#")[2]
    return int(colour[:2], 16) / max(1, int(colour[4:], 16))


def test_the_text_is_data(shown):
    out = shown(color_system=None)
    assert out.rstrip("\n") == r"a free\u001b[31m [bold]prize see you"


def test_without_colours_the_words_that_count_are_underlined(shown, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    out = shown(color_system="truecolor")
    assert "\x1b[4m[bold]prize\x1b[0m" in out
    assert out.count("\x1b[4m") == 2
    assert "48;2" not in out


def test_the_top_words_are_listed_with_their_weights():
    assert top_words(
        "win a free prize", [Span(0, 3, 1.0), Span(3, 10, -1.0), Span(10, 16, 2.5)]
    ) == ("prize (+2.5), win (+1.0)")
    assert top_words("", []) == ""
