"""The pictures of the documents."""

import os
import re
from pathlib import Path

import pytest

from benchmarks import pictures

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("page", "picture"),
    [
        ("README.md", pictures.TERMINAL_PICTURE),
        ("docs/explanation/accuracy.md", pictures.REPORT_PICTURE),
        ("docs/how-to/serve.md", pictures.PAGE_PICTURE),
    ],
)
def test_a_page_shows_each_and_it_is_small(page, picture):
    place = Path(os.path.relpath(picture, (ROOT / page).parent)).as_posix()
    assert f"]({place})" in (ROOT / page).read_text(encoding="utf-8")
    assert 5_000 < picture.stat().st_size < pictures.MOST_BYTES


def test_the_picture_of_the_terminal_is_of_its_commands_and_loads_nothing():
    svg = pictures.TERMINAL_PICTURE.read_text(encoding="utf-8")
    shown = "".join(re.findall(r"<text[^>]*>([^<]*)</text>", svg)).replace("&#160;", " ")
    for command in pictures.SHOWN:
        assert command in shown
    assert not re.search(r"@import|@font-face|url\((?!#)|href=", svg)
