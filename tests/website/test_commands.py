"""The reference of the commands is that of the program."""

from website.commands import PAGE, page


def test_the_reference_has_every_command_and_option_as_it_is():
    assert PAGE.read_text(encoding="utf-8") == page(), "run python -m website commands"
