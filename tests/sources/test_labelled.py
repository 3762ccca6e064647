import json
import mailbox
from pathlib import Path

import pytest

from spamgpt.data.files import find_files, lines_of
from spamgpt.data.inputs import read_messages
from spamgpt.errors import BadDataError, MissingInputError, SpamgptError
from spamgpt.reporting import Reporter
from spamgpt.sources.labelled import label_folders, write_labelled


class Heard(Reporter):
    def __init__(self) -> None:
        self.texts: list[str] = []

    def note(self, text: str) -> None:
        self.texts.append(text)

    warn = note


@pytest.fixture
def gather(tmp_path):
    """Gathers labelled paths: pairs of label and text, and what was told."""

    def run(*labelled: tuple[str, Path]) -> tuple[list[tuple[str, str]], list[str]]:
        file, heard = tmp_path / "gathered.jsonl", Heard()
        write_labelled(labelled, file, heard)
        rows = [json.loads(line) for line in file.read_bytes().splitlines()]
        return [(row["label"], row["text"]) for row in rows], heard.texts

    return run


def put(folder: Path, **files: str | bytes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        content = content if isinstance(content, bytes) else content.encode()
        (folder / name.replace("_", ".")).write_bytes(content)
    return folder


MAIL = "From: a@b.example\nSubject: Hello\n\nsee you\n"


def test_every_file_in_a_folder_is_a_message(gather, tmp_path):
    put(tmp_path / "d/ham/old", a_txt="see you\nat 7\n", b_eml=MAIL)
    put(tmp_path / "d/spam", c_txt="\ufeffWIN", d_txt=MAIL, _hidden="x")
    put(tmp_path / "d/.git", e_txt="no message")
    put(tmp_path / "d", README="no message either")
    found, told = gather(*label_folders(tmp_path / "d"))
    assert found == [
        ("ham", "see you\nat 7"),
        ("ham", "Hello\nsee you"),
        ("spam", "WIN"),
        ("spam", "Hello\nsee you"),
    ]
    assert told == []


def test_mails_need_no_name_and_what_is_no_message_is_told(gather, tmp_path):
    put(tmp_path / "ham", **{"00017": MAIL}, cmds="mv 1 00017", empty_txt="")
    found, told = gather(("ham", tmp_path / "ham"))
    assert found == [("ham", "Hello\nsee you")]
    assert told[0] == "Messages without text left out: 1"
    assert told[1].endswith(f"1, such as {tmp_path / 'ham' / 'cmds'}")


@pytest.fixture
def mailboxes(tmp_path, mails):
    """An mbox, a Maildir and a folder of mails with the same hundred mails."""
    box = mailbox.mbox(tmp_path / "box", create=True)
    maildir = mailbox.Maildir(tmp_path / "maildir", create=True)
    folder = put(tmp_path / "folder")
    for number, mail in enumerate(mails[:100]):
        box.add(mail)
        maildir.add(mail)
        (folder / f"{number:03}.eml").write_bytes(mail)
    box.close()
    return [tmp_path / "box", tmp_path / "maildir", folder]


def test_mailboxes_are_read_as_predict_reads_them(gather, mailboxes):
    for path in mailboxes:
        found, _ = gather(("any", path))
        files, _ = find_files([path])
        read = [
            message.text for file in files for message in read_messages(str(file), lines_of(file))
        ]
        assert [text for _, text in found] == [text for text in read if text.strip()]
        assert len(found) == 100


def test_a_file_is_read_as_predict_reads_it(gather, tmp_path):
    put(tmp_path, a_txt="see you\n\nat 7\n", b_csv='text,n\n"two\nlines",1\n')
    found, _ = gather(("ham", tmp_path / "a.txt"), ("b", tmp_path / "b.csv"))
    assert found == [("ham", "see you"), ("ham", "at 7"), ("b", "two\nlines")]


def test_a_folder_within_has_its_own_label_alone(gather, tmp_path):
    everything = mailbox.Maildir(tmp_path / "mail", create=True)
    everything.add(MAIL)
    everything.add_folder("Junk").add(MAIL.replace("see you", "WIN"))
    found, _ = gather(("ham", tmp_path / "mail"), ("spam", tmp_path / "mail/.Junk"))
    assert found == [("ham", "Hello\nsee you"), ("spam", "Hello\nWIN")]


def test_half_a_surrogate_pair_does_no_harm(gather, tmp_path):
    put(tmp_path / "spam", a_jsonl=b'{"text": "a \\ud800"}\n')
    (found,), _ = gather(("spam", tmp_path / "spam"))
    assert found == ("spam", "a \ufffd")


def test_what_looks_like_an_escape_in_a_header_is_text(gather, tmp_path):
    put(tmp_path / "spam", a_eml=b"Subject: =?utf-8?q?a?= \\ud800\n\nhi\n")
    (found,), _ = gather(("spam", tmp_path / "spam"))
    assert found == ("spam", "a \\ud800\nhi")


def test_damaged_mails_are_read_too(gather, tmp_path, damaged_mails):
    folder = put(tmp_path / "spam")
    for number, mail in enumerate(damaged_mails[:300]):
        (folder / f"{number}.eml").write_bytes(mail)
    found, _ = gather(("spam", folder))
    assert len(found) > 200


def test_text_that_is_not_utf8_is_told_with_file_and_line(gather, tmp_path):
    put(tmp_path / "spam", a_txt=b"fine\ncaf\xe9")
    for path in (tmp_path / "spam", tmp_path / "spam/a.txt"):
        with pytest.raises(BadDataError, match=r"a\.txt, line 2: is not UTF-8"):
            gather(("spam", path))


def no_folders(folder: Path) -> None:
    put(folder, a_txt="hi")


def empty_label(folder: Path) -> None:
    put(folder / "ham", a_txt="hi")
    put(folder / "spam")


def a_maildir(folder: Path) -> None:
    folder.rmdir()
    mailbox.Maildir(folder, create=True).add(MAIL)


def an_empty_maildir(folder: Path) -> None:
    mailbox.Maildir(folder / "spam", create=True)


@pytest.mark.parametrize("make", [no_folders, empty_label, a_maildir, an_empty_maildir])
def test_folders_without_labels_or_messages_are_told(gather, tmp_path, make):
    put(tmp_path / "d")
    make(tmp_path / "d")
    with pytest.raises(MissingInputError, match=str(tmp_path / "d")) as told:
        gather(*label_folders(tmp_path / "d"))
    assert "input_format" not in told.value.hint


def test_a_path_that_is_not_there_is_told(gather, tmp_path):
    with pytest.raises(SpamgptError, match="There is no file"):
        gather(("spam", tmp_path / "none"))
