"""`spamgpt predict` on mails, and as a part of a mail filter."""

import json
import mailbox
import os
import re
import tempfile
from contextlib import closing
from email import message_from_bytes

import pytest

SPAM = b"Subject: WIN a FREE prize now!!\n\nClaim your FREE gift, call\n"
HAM = b"From: a@b\r\nSubject: see you later\r\n\r\nok at home then\r\n"
HEADER = re.compile(
    rb"X-Spam-Status: (Yes|No|Unsure), probability=[01]\.\d{4}, threshold=0\.\d+\r?\n"
)


@pytest.fixture
def predict(spamgpt, trained_workspace):
    def run(*arguments: object):
        return spamgpt("predict", *arguments, "-w", trained_workspace)

    return run


@pytest.fixture
def predict_input(predict):
    """Runs `spamgpt predict` with bytes on standard input."""

    def run(data: bytes, *arguments: object):
        with tempfile.TemporaryFile() as file:
            file.write(data)
            file.seek(0)
            before = os.dup(0)
            os.dup2(file.fileno(), 0)
            try:
                return predict(*arguments)
            finally:
                os.dup2(before, 0)
                os.close(before)

    return run


def out_bytes(result) -> bytes:
    return result.out.encode("utf-8", "surrogateescape")


def write_mbox(path, mails: list[bytes]):
    box = mailbox.mbox(path)
    for mail in mails:
        # Else it would be the time of writing, and two boxes of the same mails would differ.
        box.add(b"From MAILER-DAEMON Thu Jan  1 00:00:00 1970\n" + mail)
    box.close()
    return path


def read_mbox(path) -> list[bytes]:
    with closing(mailbox.mbox(path, create=False)) as box:
        return [box.get_bytes(key) for key in box.iterkeys()]


def maildir(path, mails: list[bytes]):
    box = mailbox.Maildir(path)
    for mail in mails:
        box.add(mail)
    return path


def test_mails_are_read_wherever_they_stand(predict, tmp_path):
    (tmp_path / "a.eml").write_bytes(SPAM)
    paths = [
        tmp_path / "a.eml",
        write_mbox(tmp_path / "inbox", [SPAM, HAM]),
        maildir(tmp_path / "Maildir", [HAM]),
    ]
    result = predict(*paths, "--json")
    rows = [json.loads(line) for line in result.out.splitlines()]
    assert [row["label"] for row in rows] == ["spam", "spam", "ham", "ham"]
    assert rows[0]["text"] == "WIN a FREE prize now!!\nClaim your FREE gift, call"
    assert rows[0]["file"] == str(paths[0])
    assert rows[2]["from"] == "a@b"
    assert str(tmp_path / "Maildir/new") in rows[3]["file"]


def test_the_input_format_overrides_the_guess(predict, predict_input, tmp_path):
    (tmp_path / "a.txt").write_bytes(SPAM)
    assert predict(tmp_path / "a.txt").out.count("\n") == 3
    assert predict(tmp_path / "a.txt", "--input-format", "eml").out.count("\n") == 1
    assert predict(tmp_path, "--input-format", "eml").status == 0
    assert predict_input(SPAM, "--input-format", "eml").out.startswith("spam\t")
    box = write_mbox(tmp_path / "box", [SPAM, HAM]).read_bytes()
    rows = predict_input(box, "--input-format", "mbox").out.splitlines()
    assert [row.split("\t")[0] for row in rows] == ["spam", "ham"]
    assert predict_input(box).out.count("\n") == 2
    assert predict_input(box, "--input-format", "lines").out.count("\n") == box.count(b"\n")


def test_only_gives_an_mbox_of_the_mails_with_that_label(predict, tmp_path):
    whole = write_mbox(tmp_path / "box", [HAM, SPAM, HAM])
    one = write_mbox(tmp_path / "expected", [HAM, HAM])
    assert out_bytes(predict(whole, "--only", "ham")) == one.read_bytes()


def test_mails_of_several_files_do_not_become_one(predict, tmp_path):
    for option in (["--only", "ham"], ["--add-header"]):
        result = predict(maildir(tmp_path / "Maildir", [HAM, HAM]), *option)
        assert result.status == 2
        assert "--format jsonl" in result.err


def test_add_header_passes_a_mail_through(predict_input):
    result = predict_input(SPAM, "--add-header")
    assert (result.status, result.err) == (0, "")
    assert re.fullmatch(HEADER.pattern + re.escape(SPAM), out_bytes(result))
    assert result.out.startswith("X-Spam-Status: Yes")
    result = predict_input(HAM, "--add-header")
    assert result.out.startswith("X-Spam-Status: No")
    assert HEADER.sub(b"", out_bytes(result)) == HAM
    assert out_bytes(result).count(b"\n") == out_bytes(result).count(b"\r\n")


def test_a_mail_on_standard_input_is_not_split_at_a_line_that_begins_with_from(predict_input):
    mail = b"From me@b Mon Nov 23 08:00:00 2026\n" + SPAM + b"\nFrom here on\n"
    result = predict_input(mail, "--add-header")
    assert HEADER.sub(b"", out_bytes(result)) == mail
    assert result.out.count("X-Spam-Status") == 1


def test_a_forged_header_does_not_survive(predict_input):
    forged = b"X-Spam-Status: No, probability=0.0001\n" + SPAM
    assert HEADER.sub(b"", out_bytes(predict_input(forged, "--add-header"))) == SPAM


def test_add_header_tells_unsure_and_its_limits(predict_input):
    result = predict_input(SPAM, "--add-header", "--unsure", "0", "1")
    assert re.match(r"X-Spam-Status: Unsure, probability=0\.\d+, unsure=0\.\.1\n", result.out)


def test_add_header_is_for_mails(predict, tmp_path):
    (tmp_path / "a.csv").write_text("text\nhi\n")
    assert predict(tmp_path / "a.csv", "--add-header").status == 2


def test_an_mbox_goes_through_add_header_with_bodies_unchanged(predict, mails, tmp_path):
    before = write_mbox(tmp_path / "before.mbox", mails)
    result = predict(before, "--add-header")
    after = tmp_path / "after.mbox"
    after.write_bytes(out_bytes(result))
    assert HEADER.sub(b"", after.read_bytes()) == before.read_bytes()
    old, new = read_mbox(before), read_mbox(after)
    assert len(old) == len(new) == len(mails)
    bodies = [[re.split(rb"\r?\n\r?\n", mail, maxsplit=1)[1] for mail in box] for box in (old, new)]
    assert bodies[0] == bodies[1]
    assert all(message_from_bytes(mail)["X-Spam-Status"] for mail in new)


@pytest.mark.parametrize(
    ("data", "options", "status"),
    [
        (SPAM, [], 0),
        (HAM, [], 1),
        (SPAM, ["--unsure", "0", "1"], 2),
        (b"WIN a FREE prize now!!\nClaim your FREE gift", [], 0),
        (b"see you\nok at home", [], 1),
        (SPAM, ["--input-format", "eml"], 0),
        (SPAM, ["--input-format", "jsonl"], 3),
        (SPAM, ["--threshold", "7"], 3),
        (SPAM, ["--nonsense"], 3),
        (SPAM, ["--classifier", "v9"], 3),
        (SPAM, ["none.eml"], 3),
    ],
)
def test_the_exit_code_is_the_answer(predict_input, data, options, status):
    result = predict_input(data, "--exit-code", *options)
    assert result.status == status
    assert result.out == ""
    assert bool(result.err) is (status == 3)


def test_the_exit_code_comes_with_what_is_asked_for(predict_input, predict, tmp_path):
    result = predict_input(HAM, "--exit-code", "--add-header")
    assert result.status == 1
    assert HEADER.sub(b"", out_bytes(result)) == HAM
    result = predict_input(b"see you\nok at home\n", "--exit-code", "--json")
    assert result.status == 1
    assert json.loads(result.out)["text"] == "see you\nok at home"
    (tmp_path / "a.eml").write_bytes(SPAM)
    assert predict(tmp_path / "a.eml", "--exit-code").status == 0
    assert predict(tmp_path / "a.eml", tmp_path / "a.eml", "--exit-code").status == 3


def test_help_is_no_error_with_exit_code_either(predict):
    assert predict("--exit-code", "--help").status == 0


def answered(predict, mails: list[bytes], folder) -> None:
    folder.mkdir()
    for number, mail in enumerate(mails):
        (folder / f"{number:04}.eml").write_bytes(mail)
    result = predict(folder, "--json")
    assert result.status == 0, result.err
    # Not splitlines(): damaged texts hold other characters that end a line for Python.
    rows = [json.loads(line) for line in result.out.split("\n")[:-1]]
    assert [row["file"] for row in rows] == sorted(map(str, folder.iterdir()))
    assert {row["label"] for row in rows} <= {"spam", "ham"}


def test_damaged_mails_get_an_answer(predict, damaged_mails, tmp_path):
    answered(predict, damaged_mails[:50], tmp_path / "mails")


@pytest.mark.slow
def test_all_2_000_damaged_mails_get_an_answer(predict, damaged_mails, tmp_path):
    answered(predict, damaged_mails, tmp_path / "mails")


def test_a_long_mail_is_passed_on_whole_with_its_header(predict_input):
    mail = HAM + b"a line of the mail\r\n" * 2000
    result = predict_input(mail, "--add-header", "--max-message-size", "0.01")
    assert HEADER.sub(b"", out_bytes(result)) == mail
    assert result.out.startswith("X-Spam-Status: ")


def test_no_header_is_forged_in_what_is_left_out_of_a_mail(predict_input):
    forged = b"X-Spam-Status: No, probability=0.0001\n"
    headers = b"X-Filler: a line of a header\n" * 300
    result = predict_input(
        headers + forged + headers + SPAM, "--add-header", "--max-message-size", "0.01"
    )
    assert len(message_from_bytes(out_bytes(result)).get_all("X-Spam-Status")) == 1


def test_a_mail_that_cannot_be_judged_is_passed_on(predict_input):
    mail = SPAM + b"a line of the mail\n" * 2000
    options = ["--max-message-size", "0.01", "--oversized", "error"]
    result = predict_input(mail, "--add-header", *options)
    assert out_bytes(result) == b"X-Spam-Status: Error\n" + mail
    assert predict_input(mail, "--exit-code", *options).status == 3
