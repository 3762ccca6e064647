"""Hostile streams through the whole command: what cannot be written, records without end."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

SPAM, HAM = b"WINNER! Claim your free prize now, call 09061701461\n", b"see you at 7 then x\n"
MIB = 1024 * 1024


def start(folder: Path, *arguments: object, **streams) -> subprocess.Popen:
    command = [sys.executable, "-m", "spamgpt", *map(str, arguments)]
    options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, cwd=folder, **(options | streams))


def spamgpt(folder: Path, *arguments: object, data: bytes = b"", **streams):
    process = start(folder, *arguments, stdin=subprocess.PIPE, **streams)
    out, err = process.communicate(data)
    return process.returncode, out or b"", err or b""


@pytest.mark.parametrize(
    ("message", "status", "closed"), [(SPAM, 0, False), (SPAM, 0, True), (HAM, 1, False)]
)
def test_an_answer_does_not_depend_on_whether_a_note_can_be_shown(
    tmp_path, message, status, closed
):
    with Path("/dev/full").open("wb") as full:
        streams = {"preexec_fn": lambda: os.close(2)} if closed else {"stderr": full}
        assert spamgpt(tmp_path, "predict", "--exit-code", data=message, **streams)[0] == status


def test_neither_do_answers_on_standard_output_and_errors(tmp_path):
    with Path("/dev/full").open("wb") as full:
        status, out, _ = spamgpt(tmp_path, "predict", data=SPAM + HAM, stderr=full)
        assert (status, out.count(b"\n")) == (0, 2)
        assert spamgpt(tmp_path, "predict", "--exit-code", "none.eml", stderr=full)[0] == 3
        assert spamgpt(tmp_path, "predict", "none.eml", stderr=full)[0] == 3


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["predict", "--help"]])
def test_standard_output_that_is_full_is_told_in_one_line(tmp_path, arguments):
    with Path("/dev/full").open("wb") as full:
        status, _, err = spamgpt(tmp_path, *arguments, stdout=full)
    assert (status, err) == (1, b"error: The disk is full.\n")


def test_a_full_standard_output_is_no_answer(tmp_path):
    with Path("/dev/full").open("wb") as full:
        options = ["--exit-code", "--json"]
        status, _, err = spamgpt(tmp_path, "predict", *options, data=HAM, stdout=full)
    assert status == 3
    assert b"Traceback" not in err


INTERRUPTED_WHILE_IMPORTING = """
import os, signal, sys
import spamgpt.__main__ as spamgpt

class Interrupter:
    def find_spec(self, name, path=None, target=None):
        if name == "typer":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupter())
spamgpt.main()
"""
INTERRUPTED_AT_EXIT = """
import atexit, os, signal
import spamgpt.__main__ as spamgpt

atexit.register(os.kill, os.getpid(), signal.SIGINT)
spamgpt.main()
"""


@pytest.mark.parametrize("program", [INTERRUPTED_WHILE_IMPORTING, INTERRUPTED_AT_EXIT])
def test_an_interrupt_before_and_after_all_work_shows_no_traceback(tmp_path, program):
    command = [sys.executable, "-c", program, "--version"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, b"")


def test_an_interrupt_and_a_termination_at_once_show_no_traceback(tmp_path):
    for order in ([signal.SIGINT, signal.SIGTERM], [signal.SIGTERM, signal.SIGINT]):
        process = start(tmp_path, "predict", stdin=subprocess.PIPE)
        process.stdin.write(HAM)
        process.stdin.flush()
        process.stdout.readline()
        for number in order:
            process.send_signal(number)
        _, err = process.communicate()
        assert process.returncode in (130, -signal.SIGTERM)
        assert b"Traceback" not in err


def test_what_was_answered_is_kept_when_the_reader_leaves(tmp_path):
    process = start(tmp_path, "predict", "--save", stdin=subprocess.PIPE)
    process.stdin.write(HAM)
    process.stdin.flush()
    assert process.stdout.readline()
    process.stdout.close()
    process.stdin.write(SPAM)
    process.stdin.close()
    err = process.stderr.read()
    process.stderr.close()
    assert process.wait() == 0
    assert b"Saved: predictions/v1" in err
    saved = (tmp_path / "workspace/predictions/v1/predictions.jsonl").read_text().splitlines()
    assert [json.loads(line)["label"] for line in saved] == ["ham", "spam"]


def peak(process: subprocess.Popen) -> int:
    """The most bytes that a process held, which has read everything and waits."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024


@pytest.mark.parametrize("name", ["a.jsonl", "a.mbox"])
def test_a_message_without_end_takes_no_more_memory_than_another(tmp_path, name):
    pipe = tmp_path / name
    os.mkfifo(pipe)
    begin = {"a.jsonl": b'{"text": "', "a.mbox": b"From a@b\nSubject: hi\n\n"}[name]
    end = {"a.jsonl": b'"}\n{"text": "last"}\n', "a.mbox": b"\n\nFrom a@b\n\nlast\n"}[name]
    part = b"win a free prize " * 4096

    def write() -> None:
        with pipe.open("wb") as file:
            file.write(begin)
            for _ in range(200 * MIB // len(part)):
                file.write(part)
            file.write(end)

    threading.Thread(target=write, daemon=True).start()
    process = start(tmp_path, "predict", pipe, "-", "--json", stdin=subprocess.PIPE)
    first = json.loads(process.stdout.readline())
    assert first["bytes_left_out"] > 190 * MIB
    assert (first["windows"], first["windows_left_out"] > 1000) == (4, True)
    assert peak(process) < 1000 * MIB
    process.stdin.write(HAM)
    process.stdin.close()
    texts = [json.loads(line)["text"] for line in process.stdout]
    err = process.stderr.read()
    process.stdout.close()
    process.stderr.close()
    assert process.wait() == 0, err
    assert texts == ["last", HAM.decode().strip()]
    assert b"judged by their beginning and end: 1" in err
