"""The README's pictures show what a user of this version sees."""

import re
from pathlib import Path

import pytest

from benchmarks import pictures

ROOT = Path(__file__).parents[1]


def test_the_pictures_are_of_this_version():
    changed = pictures.outdated()
    assert not changed, f"run python -m benchmarks.pictures: {changed} changed since"


def test_a_change_of_what_they_show_makes_them_old(monkeypatch):
    digests = pictures.digests()
    assert "spamgpt/evaluation/templates/report.css" in digests
    changed = digests | {"spamgpt/evaluation/templates/report.css": "other"}
    monkeypatch.setattr(pictures, "digests", lambda: changed)
    assert "spamgpt/evaluation/templates/report.css" in pictures.outdated()


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
