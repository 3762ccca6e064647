"""The commands that the documents show do what they show."""

import re
from pathlib import Path

import pytest

from website.console import PAGES, abridged, run, shown, unknown_options, with_answers, words

ROOT = Path(__file__).parents[2]
# What runs in seconds; the other pages train and judge, as tests/test_end_to_end.py does.
QUICK = {"docs/how-to/own-data.md", "docs/reference/errors.md"}


def runnable() -> list[object]:
    pages = [page for page in PAGES if shown(page.read_text(encoding="utf-8"))]
    names = [page.relative_to(ROOT).as_posix() for page in pages]
    assert set(names) >= QUICK
    slow = [() if name in QUICK else pytest.mark.slow for name in names]
    return [
        pytest.param(page, id=name, marks=marks)
        for page, name, marks in zip(pages, names, slow, strict=True)
    ]


@pytest.mark.parametrize("page", runnable())
def test_a_page_shows_what_its_commands_print(page):
    for each, printed in run(page):
        found = abridged(printed, each.output)
        assert words(found) == words(each.output), "run python -m website console"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_the_commands_of_a_page_have_the_options_that_there_are(page):
    assert unknown_options(page.read_text(encoding="utf-8")) == []


def test_an_unknown_option_is_found():
    page = "```shell\ncat a | spamgpt predict --only ham && spamgpt fetch --colour red\n```\n"
    (refused,) = unknown_options(page)
    assert "--colour" in refused


def test_what_a_command_prints_replaces_what_the_page_shows():
    page = "a\n```console\n$ echo \\\n  1\n0\n\n$ true\n$ seq 9\n...\n4\n...\n```\nb\n"
    answers = [(each, each.command) for each in shown(page)]
    assert [each.command for each, _ in answers] == ["echo \\\n  1", "true", "seq 9"]
    outputs = ["1\n", "", "3\n44\n5\n"]
    new = [(each, output) for (each, _), output in zip(answers, outputs, strict=True)]
    assert with_answers(page, new) == page.replace("\n0\n", "\n1\n").replace("\n4\n", "\n3\n")


def test_a_line_that_is_no_longer_printed_is_an_error():
    assert abridged("one 1\ntwo 2\nthree 3\n", "...\ntwo 7\n...\n") == "...\ntwo 2\n..."
    with pytest.raises(ValueError, match="no longer printed: four"):
        abridged("one 1\ntwo 2\n", "...\nfour 4\n")


@pytest.mark.parametrize("name", ["README.md", "docs/how-to/notebook.md"])
def test_the_python_of_a_page_gives_what_it_says(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    page = (ROOT / name).read_text(encoding="utf-8")
    checked = 0
    for block in re.findall(r"^```python\n(.*?)^```$", page, re.DOTALL | re.MULTILINE):
        exec(compile(block, name, "exec"), names)
        for expression, value in re.findall(r"^(.*\S)  # (\[[^\]]*\])", block, re.MULTILINE):
            found = eval(expression, names)
            assert repr(list(found)).replace("np.str_(", "").replace(")", "") == value
            checked += 1
    assert checked


def test_the_readme_can_be_read_at_once():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(readme.splitlines()) <= 120
    # The first code block holds the two commands that do all the set-up.
    first = re.search(r"^```\n(.*?)^```$", readme, re.DOTALL | re.MULTILINE)
    assert first
    assert [line.count("python3 -m venv") for line in first[1].splitlines()] == [1, 1]
