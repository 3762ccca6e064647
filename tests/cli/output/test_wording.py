from pathlib import Path

import pytest

from spamgpt.cli import _Commands
from spamgpt.cli.output.screen import ScreenReporter
from spamgpt.cli.output.wording import in_options, in_workspace, speak_of


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


@pytest.mark.parametrize(
    ("hint", "shown"),
    [
        ("Make it: spamgpt prepare", "Make it: spamgpt prepare -w 'my mail'"),
        ("Go on with: spamgpt sweep a.toml", "Go on with: spamgpt sweep a.toml -w 'my mail'"),
        ("Make it: spamgpt fetch. Bundled: mini", "Make it: spamgpt fetch. Bundled: mini"),
        ("Check the path.", "Check the path."),
    ],
)
def test_a_command_to_run_is_told_with_the_workspace(hint, shown):
    assert in_workspace(hint, Path("my mail")) == shown


def test_a_hint_names_the_workspace_only_where_it_is_not_the_usual_one(
    spamgpt, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    hints = [
        spamgpt("prepare", *options).err.splitlines()[-1]
        for options in ([], ["-w", "other"], ["-w", "workspace"])
    ]
    monkeypatch.setenv("SPAMGPT_WORKSPACE", "other")
    hints.append(spamgpt("prepare").err.splitlines()[-1])
    plain = " hint: Make it: spamgpt fetch"
    assert hints == [plain, f"{plain} -w other", plain, plain]


def test_what_takes_long_is_told_in_seconds_for_each(monkeypatch, capsys):
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    for unit, seconds, told in (("runs", 40.0, "40 s/run"), ("messages", 5.5, "73 messages/s")):
        now = 0.0
        with ScreenReporter().task("Sweep", 1000, unit) as task:
            now = seconds
            task.advance(1 if unit == "runs" else 400)
        assert f", {told}, " in capsys.readouterr().err


def test_the_rate_is_that_of_what_was_done_since_a_run_went_on(monkeypatch, capsys):
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    with ScreenReporter().task("Pre-training", 10_000, "tokens", 6_000) as task:
        now = 10.0
        task.advance(1_000)
    told = "Pre-training: 7,000 of 10,000 tokens, 100 tokens/s, 30 s to go"
    assert capsys.readouterr().err.strip() == told


def test_notes_and_warnings_name_options_too(speaks_of, capsys):
    speaks_of("fetch")
    ScreenReporter().note("note: `offline=True`")
    ScreenReporter().warn("`dataset=FILE`")
    assert capsys.readouterr().err.splitlines() == ["note: --offline", "warning: --dataset FILE"]
