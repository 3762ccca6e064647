import pytest

from spamgpt.cli import _Commands
from spamgpt.cli.output.screen import ScreenReporter
from spamgpt.cli.output.wording import in_options, speak_of


@pytest.fixture
def speaks_of():
    """Speaks of the options of a command until the test ends."""
    yield lambda command: speak_of(_Commands()[command].params)
    speak_of([])


@pytest.mark.parametrize(
    ("command", "text", "shown"),
    [
        ("finetune", "Lower `learning_rate`.", "Lower --learning-rate."),
        ("finetune", "Use `unfreeze=last-block`.", "Use --unfreeze last-block."),
        ("prepare", "Use `stratify=False`.", "Use --no-stratify."),
        ("prepare", "Use `stratify=True`, `balance=True`.", "Use --stratify, --balance."),
        ("prepare", "Leave out `balance`.", "Leave out --balance."),
        ("predict", "`unsure=0.2 0.8`", "--unsure 0.2 0.8"),
        ("pretrain", "`texts` are empty", "TEXTS are empty"),
        # What the command has no option for.
        ("prepare", "Use `balance=False`.", "Use `balance=False`."),
        ("predict", "Lower `learning_rate`.", "Lower `learning_rate`."),
        ("predict", "the label `` and `a b`", "the label `` and `a b`"),
    ],
)
def test_settings_are_told_as_options_of_the_command(speaks_of, command, text, shown):
    speaks_of(command)
    assert in_options(text) == shown


def test_without_a_command_settings_stay_settings():
    assert in_options("Use `seed=1`.") == "Use `seed=1`."


def test_an_error_of_a_stage_names_the_option(spamgpt, trained_workspace):
    result = spamgpt("prepare", "--split", "50/50", "-w", trained_workspace)
    assert result.status == 2
    assert result.err.splitlines() == [
        "error: --split 50/50 is not three shares.",
        " hint: Give training, validation and test in percent: --split 70/10/20",
    ]


def test_notes_and_warnings_name_options_too(speaks_of, capsys):
    speaks_of("fetch")
    ScreenReporter().note("note: `offline=True`")
    ScreenReporter().warn("`dataset=FILE`")
    assert capsys.readouterr().err.splitlines() == ["note: --offline", "warning: --dataset FILE"]
