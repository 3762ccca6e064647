import pytest
from huggingface_hub import ModelCard, ModelCardData

from spamgpt.cards.rendering import Markdown, as_markdown, render, settings_table, table


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a|b", r"a\|b"),
        ("*bold*", r"\*bold\*"),
        ("nus_sms", "nus_sms"),
        ("_so_ and __so__", r"\_so\_ and \_\_so\_\_"),
        ("<b>&amp;", r"\<b\>\&amp;"),
        ("Chen & Kan", "Chen & Kan"),
        ("&#35;", r"\&\#35;"),
        ("two\nlines", r"two\\u000alines"),
    ],
)
def test_text_is_shown_as_it_is(text, shown):
    assert as_markdown(text) == shown


def test_what_is_markdown_already_and_what_is_no_text_stay():
    assert as_markdown(Markdown("| a |")) == "| a |"
    assert as_markdown(3) == 3


def test_a_table_has_its_numbers_on_the_right():
    assert table(("a", "b", "c"), [("x|y", "1", "2")], left=1).splitlines() == [
        "| a | b | c |",
        "|---|---:|---:|",
        r"| x\|y | 1 | 2 |",
    ]


def test_settings_without_a_value_are_left_out_and_paths_are_names():
    settings = {
        "texts": ("/home/zoe/chat.jsonl", "books/", "."),
        "weights": (("chat", 3.0), ("books", 0.5)),
        "minutes": None,
        "learning_rate": 1e-05,
        "balance": True,
    }
    assert settings_table(settings).splitlines()[2:] == [
        "| texts | chat.jsonl, books, a folder |",
        "| weights | chat=3, books=0.5 |",
        "| learning rate | 1e-05 |",
        "| balance | yes |",
    ]


def test_a_template_of_ones_own_extends_the_family(tmp_path):
    (tmp_path / "own.md.jinja").write_text(
        "{% extends 'base.md.jinja' %}"
        "{% block title %}{{ name }}{% endblock %}"
        "{% block limits %}\nEverything.\n{% endblock %}"
    )
    text = render("own.md.jinja", ModelCardData(license="mit"), folder=tmp_path, name="<own>")
    assert ModelCard(text).data.license == "mit"
    assert text.endswith("---\n# \\<own\\>\n\n## What it is not good for\nEverything.\n")
