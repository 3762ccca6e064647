"""The README's pictures."""

import re
from pathlib import Path

import pytest

from benchmarks import pictures

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("picture", "page"),
    [
        (pictures.REPORT_PICTURE, ROOT / "README.md"),
        (pictures.TERMINAL_PICTURE, ROOT / "README.md"),
        (pictures.PAGE_PICTURE, ROOT / "docs" / "serve.md"),
    ],
)
def test_a_document_shows_them_and_they_are_small(picture, page):
    assert f"]({picture.relative_to(page.parent).as_posix()})" in page.read_text(encoding="utf-8")
    assert 5_000 < picture.stat().st_size < pictures.MOST_BYTES


def test_the_picture_of_the_terminal_is_of_its_commands_and_loads_nothing():
    svg = pictures.TERMINAL_PICTURE.read_text(encoding="utf-8")
    shown = "".join(re.findall(r"<text[^>]*>([^<]*)</text>", svg)).replace("&#160;", " ")
    for command in pictures.SHOWN:
        assert command in shown
    assert not re.search(r"@import|@font-face|url\((?!#)|href=", svg)
