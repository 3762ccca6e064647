import json
import os
import pty
import subprocess
import sys

import pytest

from spamgpt.cli.learn import repeated
from spamgpt.data.corrections import Corrections
from spamgpt.workspace import Workspace

MAIL = "From: Aunt <aunt@mail.example>\nSubject: Sunday\n\nCome at noon, it is free: bring cake\n"


@pytest.mark.parametrize(
    ("given", "understood"),
    [
        ("--spam a b --ham c", "--spam a --spam b --ham c"),
        ("--spam a --spam b", "--spam a --spam b"),
        ("--ham=a b -q -w x", "--ham=a --ham b -q -w x"),
        ("--forget - a --train", "--forget - --forget a --train"),
        ("--spam", "--spam"),
        ("-w x --spam --train", "-w x --spam --train"),
    ],
)
def test_an_option_takes_several_files(given, understood):
    assert repeated(given.split()) == understood.split()


def test_corrections_are_taught_and_counted(spamgpt, tmp_path):
    (tmp_path / "aunt.eml").write_text(MAIL)
    (tmp_path / "more.jsonl").write_text('{"body": "win"}\n{"body": "cash"}\n{"body": " "}\n')
    workspace = ("-w", tmp_path / "workspace")
    one = spamgpt("learn", "--ham", tmp_path / "aunt.eml", *workspace)
    assert one.status == 0
    assert one.out.splitlines() == ["taught       1 new", "corrections  1: 1 ham"]
    assert one.err == "To train the classifier with them: spamgpt learn --train\n"
    spam = ("--spam", tmp_path / "more.jsonl", tmp_path / "aunt.eml", "--text-column", "body")
    two = spamgpt("learn", *spam, *workspace, "--json")
    assert json.loads(two.out) == {
        "corrections": {"spam": 3},
        "taught": {"new": 2, "relabelled": 1, "known": 0, "forgotten": 0},
    }
    assert two.err == "Messages without text left out: 1\n"
    three = spamgpt("learn", "--forget", tmp_path / "aunt.eml", *workspace, "--quiet")
    assert three.out.splitlines() == ["taught       1 forgotten", "corrections  2: 2 spam"]
    assert "Corrections: 2 spam. See: spamgpt learn" in spamgpt("artifacts", *workspace).err


@pytest.mark.parametrize(
    ("text", "texts"),
    [
        (MAIL, ["Sunday\nCome at noon, it is free: bring cake"]),
        ("one\ntwo\n", ["one", "two"]),
        ("Note: two lines\nof text\n", ["Note: two lines", "of text"]),
        (
            "From a Mon Jan  5 10:00:00 2026\n" + MAIL,
            ["Sunday\nCome at noon, it is free: bring cake"],
        ),
    ],
)
def test_standard_input_is_one_mail_a_mailbox_or_lines(tmp_path, text, texts):
    command = [sys.executable, "-m", "spamgpt", "learn", "--ham", "-", "-w", tmp_path / "workspace"]
    subprocess.run(command, input=text, text=True, check=True, capture_output=True)
    found = [each.text.strip() for each in Corrections(Workspace(tmp_path / "workspace"))]
    assert sorted(found) == sorted(texts)


def test_labels_that_the_classifier_lacks_are_refused(spamgpt, tmp_path):
    (tmp_path / "a.txt").write_text("hello\n")
    workspace = ("-w", tmp_path / "workspace")
    result = spamgpt("learn", "--labelled", f"news={tmp_path / 'a.txt'}", *workspace)
    assert result.status == 2
    assert result.err.splitlines() == [
        "error: The classifier in use has no label 'news'.",
        " hint: Its labels are ham, spam.",
    ]
    assert spamgpt("learn", "--spam", "-", "--ham", "-", *workspace).status == 2
    assert spamgpt("learn", "--spam", tmp_path / "none", *workspace).status == 3
    assert spamgpt("learn", "--train", *workspace).status == 3
    assert not (tmp_path / "workspace").exists()


def test_training_tells_what_came_of_it(spamgpt, tmp_path, trained_workspace):
    lines = [f"see you at the FREE entry {number}" for number in range(4)]
    (tmp_path / "ham.txt").write_text("\n".join(lines))
    workspace = ("-w", trained_workspace)
    options = ("--epochs", 6, "--learning-rate", 3e-3)
    result = spamgpt("learn", "--ham", tmp_path / "ham.txt", "--train", *options, *workspace)
    assert result.status == 0
    shown = result.out.splitlines()
    assert shown[1] == "corrections  4: 4 ham"
    assert shown[2].startswith("corrections right  0 of 4 before, ")
    assert shown[3].startswith("validation right   ")
    assert shown[4] == "in use             classifiers/v2, made from classifiers/v1"
    assert result.err.endswith("Side by side: spamgpt compare v1 v2\n")
    assert spamgpt("compare", "v1", "v2", *workspace).status == 0
    again = spamgpt("learn", "--train", *options, *workspace)
    assert again.out == "corrections  4: 4 ham\n"
    assert again.err == "The classifier in use has learnt all of them already.\n"
    prepared = spamgpt("prepare", *workspace)
    assert prepared.out.splitlines()[1] == (
        "corrections  4: 4 messages added, 0 in the data set (0 labels changed)"
    )


def test_a_keyboard_is_told_that_it_is_read(tmp_path):
    terminal, theirs = pty.openpty()
    os.write(terminal, b"WIN a prize\n\x04")
    command = [sys.executable, "-m", "spamgpt", "learn", "-w", tmp_path / "w", "--spam", "-"]
    done = subprocess.run(command, stdin=theirs, capture_output=True, text=True, timeout=120)
    os.close(theirs)
    os.close(terminal)
    assert done.stderr.startswith(
        "Reading messages from the keyboard, one per line; Ctrl-D ends.\n"
    )
    assert "taught       1 new" in done.stdout
