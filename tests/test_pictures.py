"""The README's pictures."""

import re
from pathlib import Path

import pytest

from benchmarks import pictures

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("picture", [pictures.REPORT_PICTURE, pictures.TERMINAL_PICTURE])
def test_the_readme_shows_them_and_they_are_small(picture):
    assert f"]({picture.relative_to(ROOT).as_posix()})" in (ROOT / "README.md").read_text()
    assert 5_000 < picture.stat().st_size < pictures.MOST_BYTES


def test_the_picture_of_the_terminal_is_of_its_commands_and_loads_nothing():
    svg = pictures.TERMINAL_PICTURE.read_text(encoding="utf-8")
    shown = "".join(re.findall(r"<text[^>]*>([^<]*)</text>", svg)).replace("&#160;", " ")
    for command in pictures.SHOWN:
        assert command in shown
    assert not re.search(r"@import|@font-face|url\((?!#)|href=", svg)
