"""The installed `spamgpt` command in processes of its own: pipes, terminals, signals, real data."""

import fcntl
import json
import os
import pty
import random
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file

from spamgpt.workspace import Workspace

COMMAND = str(Path(sys.executable).with_name("spamgpt"))


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs the command in a folder of its own; returns standard output."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object, input: str | None = None, status: int = 0) -> str:
        done = subprocess.run(
            [COMMAND, *map(str, arguments)], input=input, capture_output=True, text=True
        )
        assert done.returncode == status, done.stderr
        return done.stdout

    return run


def start(*arguments: object, **options) -> subprocess.Popen:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([COMMAND, *map(str, arguments)], **pipes | options)


def test_from_nothing_to_a_filter_in_five_commands(run, make_model, messages_file, tmp_path):
    run("fetch", "--dataset", messages_file, "--model", make_model(weights=False), "--weights",
        "random")  # fmt: skip
    run("prepare")
    run("finetune", "--unfreeze", "all", "--epochs", 3, "--learning-rate", "3e-3")
    assert json.loads(run("evaluate", "--json"))["accuracy"] == 1
    answers = run("predict", input="WIN a FREE prize now!!\nsee you later\n")
    assert re.fullmatch(
        r"spam\t0\.\d{4}\tWIN a FREE prize now!!\nham\t0\.\d{4}\tsee you later\n", answers
    )
    assert run("predict", "--only", "ham", input="WIN a FREE prize\nsee you\n") == "see you\n"
    assert len(run("artifacts").splitlines()) == 5
    assert sorted(path.name for path in tmp_path.iterdir()) == ["messages.txt", "tiny", "workspace"]


def test_the_real_collection_gives_a_working_filter(
    run, sms_collection, gpt2_tokenizer_folder, tmp_path
):
    # The shape and commands of the README's walk-through, with fewer messages for the tests' sake.
    model = tmp_path / "M"
    shutil.copytree(gpt2_tokenizer_folder, model)
    shape = {"model_type": "gpt2", "n_layer": 4, "n_head": 4, "n_embd": 128}
    (model / "config.json").write_text(json.dumps(shape))
    run("fetch", "--dataset", sms_collection, "--model", model, "--weights", "random")
    run("prepare", "--balance")
    run("finetune", "--unfreeze", "all", "--epochs", 3, "--learning-rate", "5e-4")
    assert json.loads(run("evaluate", "--json"))["accuracy"] > 0.90
    answers = run(
        "predict",
        input="WINNER! Claim your free prize now, call 09061701461\nsee you at 7 then x\n",
    )
    assert [line.split("\t")[0] for line in answers.splitlines()] == ["spam", "ham"]


def test_a_slow_producer_sees_each_answer_at_once(trained_workspace):
    with start("predict", "-w", trained_workspace) as process:
        for message in (b"WIN a FREE prize\n", b"see you later\n"):
            process.stdin.write(message)
            process.stdin.flush()
            # Blocks for ever, until the test's own limit, if the answer waits for more input.
            assert select.select([process.stdout], [], [], 60)[0]
            assert process.stdout.readline().endswith(b"\t" + message)
        process.stdin.close()
        assert process.wait() == 0


def test_a_closed_pipe_is_no_error(trained_workspace):
    with start("predict", "-w", trained_workspace) as process:
        process.stdin.write(b"see you\n")
        process.stdin.flush()
        process.stdout.readline()
        process.stdout.close()
        process.stdin.write(b"see you\n")
        process.stdin.flush()  # and stdin stays open: the reader is still waiting for lines
        assert process.wait(timeout=60) == 0
        assert process.stderr.read() == b""


def test_a_closed_pipe_is_no_error_for_a_table_either(trained_workspace):
    with start("artifacts", "-w", trained_workspace) as process:
        process.stdout.close()
        assert process.wait(timeout=60) == 0


def test_closed_standard_streams_are_no_accident(trained_workspace, tmp_path):
    (tmp_path / "a.txt").write_text("WIN a FREE prize\n")

    def shell(line: str) -> subprocess.CompletedProcess:
        command = f"{COMMAND} predict -w {trained_workspace} {line}"
        return subprocess.run(["sh", "-c", command], capture_output=True, text=True)

    done = shell("<&-")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("error: Standard input is closed.\n hint:")
    for closed in (">&-", "--exit-code <&- >&- 2>&-"):
        done = shell(f"{tmp_path / 'a.txt'} {closed}")
        assert (done.returncode, done.stderr) == (0, "")


def test_a_watched_file_is_followed_through_rotation_until_ctrl_c(trained_workspace, tmp_path):
    log = tmp_path / "log"
    log.write_text("see you long ago\n")

    def add(line: str) -> None:
        with log.open("a") as file:
            file.write(line)

    with start("predict", "--watch", log, "-w", trained_workspace) as process:

        def next_answer() -> str:
            assert select.select([process.stdout], [], [], 60)[0]
            return process.stdout.readline().decode().split("\t")[2]

        # Until the command stands at the end of the file, lines go unseen.
        while not select.select([process.stdout], [], [], 0.5)[0]:
            add("here?\n")
        add("see you\n")
        texts = ["here?\n"]
        while texts[-1] == "here?\n":
            texts.append(next_answer())
        assert texts[-1] == "see you\n"
        log.rename(tmp_path / "log.1")
        add("WIN a FREE prize\n")
        assert next_answer() == "WIN a FREE prize\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 130
        assert re.search(r"messages: \d+ ham, \d+ spam", process.stderr.read().decode())


def saved_texts(workspace: Path) -> list[str]:
    (artifact,) = Workspace(workspace).artifacts("predictions")
    lines = artifact.file("predictions.jsonl").read_text().splitlines()
    assert artifact.metadata == {"messages": len(lines), "stopped": True}
    return [json.loads(line)["text"] for line in lines]


def test_ctrl_c_keeps_the_answers_of_a_watched_file(trained_workspace, tmp_path):
    log = tmp_path / "log"
    log.touch()
    command = ["predict", "--watch", log, "--save", "-w", trained_workspace]
    with start(*command) as process:
        # Until the command stands at the end of the file, lines go unseen.
        while not select.select([process.stdout], [], [], 0.5)[0]:
            with log.open("a") as file:
                file.write("see you\n")
        answered = [process.stdout.readline()]
        while select.select([process.stdout], [], [], 1)[0]:
            answered.append(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 130
        assert b"Saved: predictions/v1" in process.stderr.read()
    assert saved_texts(trained_workspace) == ["see you"] * len(answered)


def test_ctrl_c_keeps_the_answers_of_a_stream(trained_workspace):
    with start("predict", "--save", "-w", trained_workspace) as process:
        process.stdin.write(b"see you\nWIN a FREE prize\n")
        process.stdin.flush()
        for _ in range(2):
            process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 130
    assert saved_texts(trained_workspace) == ["see you", "WIN a FREE prize"]


def test_ctrl_c_before_the_first_answer_saves_nothing(trained_workspace):
    with start("predict", "--save", "-w", trained_workspace) as process:
        while not list((trained_workspace / "predictions").glob(".draft-*/predictions.jsonl")):
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 130
    assert not (trained_workspace / "predictions").exists()


def test_ctrl_c_while_waiting_for_lines_ends_with_130(trained_workspace):
    with start("predict", "-w", trained_workspace) as process:
        process.stdin.write(b"see you\n")
        process.stdin.flush()
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 130
        assert process.stderr.read() == b""


def on_a_terminal(arguments: list[str], text: bytes, **environment: str) -> str:
    """What a command shows on a terminal of 60 columns when it reads `text` from a pipe."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 60, 0, 0))
    env = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    with start(*arguments, stdout=theirs, env=env | {"TERM": "xterm"} | environment) as process:
        process.stdin.write(text)
        process.stdin.close()
        os.close(theirs)
        shown = b""
        while True:
            try:
                part = os.read(ours, 4096)
            except OSError:  # how Linux tells that the other end is closed
                break
            if not part:
                break
            shown += part
        assert process.wait() == 0
    os.close(ours)
    return shown.decode()


HOSTILE = "WIN a FREE prize \x1b]0;owned\x07\x1b[2J [bold] \u202e " + "now " * 40 + "\n"


def test_a_terminal_gets_a_coloured_table_and_no_control_codes_of_messages(trained_workspace):
    shown = on_a_terminal(["predict", "-w", str(trained_workspace)], HOSTILE.encode())
    header, row = shown.replace("\r", "").splitlines()
    assert "label" in header
    assert row.startswith("\x1b[31mspam")
    plain = re.sub(r"\x1b\[[0-9;]*m", "", row)
    assert r"\u001b]0;owned\u0007\u001b[2J [bold] \u202e" in plain or plain.endswith("…")
    assert "\x1b" not in plain
    assert "\u202e" not in plain
    assert len(plain) == 60


def test_no_format_sends_control_codes_to_a_terminal(trained_workspace):
    for options in (["--format", "tsv"], ["--format", "jsonl"], ["--only", "spam"]):
        shown = on_a_terminal(["predict", "-w", str(trained_workspace), *options], HOSTILE.encode())
        assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202e]", shown)
        assert "prize" in shown


def test_tabs_between_fields_reach_a_terminal(trained_workspace):
    command = ["predict", "-w", str(trained_workspace), "--format", "tsv"]
    shown = on_a_terminal(command, b"see\tyou \x1b\n")
    assert re.fullmatch(r"ham\t0\.\d{4}\tsee\\u0009you \\u001b\r?\n", shown)


def test_no_color_is_honoured(trained_workspace):
    command = ["predict", "-w", str(trained_workspace)]
    assert "\x1b[31m" not in on_a_terminal(command, b"WIN a FREE prize\n", NO_COLOR="1")


def test_ctrl_c_keeps_what_was_learnt_and_resume_ends_with_the_same_weights(run, trained_workspace):
    options = ["--unfreeze", "all", "--epochs", 60, "-w", trained_workspace]
    with start("finetune", *options, "--quiet") as process:
        while not list((trained_workspace / "checkpoints").glob("*/state.pt")):
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        error = process.stderr.read().decode()
        assert process.wait() == 130, error
    assert "Go on with: spamgpt finetune --resume" in error
    run("finetune", "--resume", "-w", trained_workspace)
    run("finetune", *options)
    resumed, whole = (
        load_file(trained_workspace / "classifiers" / version / "trained.safetensors")
        for version in ("v2", "v3")
    )
    assert all((tensor == whole[name]).all() for name, tensor in resumed.items())


@pytest.mark.slow
def test_kill_9_at_any_moment_leaves_a_workspace_in_which_the_next_command_works(
    run, trained_workspace
):
    draw = random.Random(11)
    commands = [
        ["prepare"],
        ["finetune", "--unfreeze", "all", "--epochs", "2"],
        ["evaluate"],
        ["predict", "--save", str(trained_workspace / "datasets/chat/v1/messages.csv")],
    ]
    for command in commands * 4:
        with start(*command, "-w", trained_workspace) as process:
            time.sleep(draw.uniform(0.5, 4))
            process.kill()
        run(*command, "-w", trained_workspace)
        run("artifacts", "--verify", "-w", trained_workspace)
    leftovers = list(trained_workspace.rglob(".draft-*"))
    assert leftovers == []


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_lines(trained_workspace, tmp_path):
    def peak(lines: int) -> int:
        """Peak resident memory in kilobytes, as the kernel counts it for a finished child."""
        code = (
            "import resource, subprocess, sys; "
            "subprocess.run(sys.argv[1:], stdin=sys.stdin, stdout=subprocess.DEVNULL, check=True); "
            "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
        )
        file = tmp_path / "lines.txt"
        with file.open("w") as text:
            for number in range(lines):
                text.write(f"message {number} " + "word " * (number % 9) + "\n")
        with file.open() as text:
            done = subprocess.run(
                [sys.executable, "-c", code, COMMAND, "predict", "-w", str(trained_workspace)],
                stdin=text,
                capture_output=True,
                check=True,
            )
        return int(done.stdout)

    small, large = peak(10_000), peak(200_000)
    assert large < small * 1.1
