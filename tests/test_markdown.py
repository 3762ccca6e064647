import pytest

from spamgpt.markdown import Markdown, as_markdown, table


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
