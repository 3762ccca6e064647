"""`spamgpt predict` on records that cannot be read, are too long, or are not what they seem."""

import csv
import gzip
import io
import json
import os
import shutil
import threading

import pytest

SPAM, HAM = "WIN a FREE prize now!!", "see you later"
BAD = '{"text": "a"}\nbad\n{"text": null}\n{"n": 1}\n{"text": "b", "n": 2}\n'


@pytest.fixture
def predict(spamgpt, trained_workspace, tmp_path):
    """Runs `spamgpt predict` on a file with the given content."""

    def run(content: str | bytes, *options: object, name: str = "in.txt"):
        file = tmp_path / name
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        return spamgpt("predict", file, "-w", trained_workspace, *options)

    return run


def rows_of(result) -> list[dict]:
    """The answers of --json."""
    return [json.loads(line) for line in result.out.split("\n")[:-1]]


def cells_of(result) -> list[list[str]]:
    """The answers between tabs."""
    return [line.split("\t") for line in result.out.split("\n")[:-1]]


def test_every_record_is_answered_also_those_that_cannot_be_read(predict):
    result = predict(BAD, name="a.jsonl")
    rows = cells_of(result)
    assert [row[2] for row in rows] == ["a", "bad", '{"text": null}', '{"n": 1}', "b"]
    assert [row[:2] for row in rows[1:4]] == [["error", ""]] * 3
    assert result.status == 4
    assert "a.jsonl, line 3: 'text' is null." in result.err
    assert "could not be read, answered with error: 3." in result.err
    rows = rows_of(predict(BAD, "--json", name="a.jsonl"))
    assert [row["label"] for row in rows[1:4]] == [None] * 3
    assert rows[3]["error"].endswith("a.jsonl, line 4: has no 'text'.")


def test_errors_can_be_skipped_or_end_the_stream(predict):
    result = predict(BAD, "--on-error", "skip", "--format", "csv", name="a.jsonl")
    assert [row["text"] for row in csv.DictReader(io.StringIO(result.out))] == ["a", "b"]
    assert (result.status, "skipped: 3." in result.err) == (0, True)
    result = predict(BAD, "--on-error", "fail", name="a.jsonl")
    assert (result.status, result.out.count("\n")) == (4, 1)


def test_columns_are_those_of_the_first_message_also_behind_errors(predict):
    rows = 'bad\n{"text": "a", "n": 1}\n'
    out = predict(rows, "--format", "csv", name="a.jsonl").out
    error, answer = csv.DictReader(io.StringIO(out))
    assert (error["label"], error["n"], answer["n"]) == ("error", "", "1")
    assert predict("bad\n", "--format", "csv", name="a.jsonl").out.count("\n") == 2


def test_a_stray_quote_costs_one_row(predict):
    rows = cells_of(predict('text\na\n"b\nc\n"d ""e"\n', "--quiet", name="a.csv"))
    assert [row[2] for row in rows] == ["a", '"b', "c", 'd "e']
    assert [row[0] for row in rows].count("error") == 1


def test_a_file_that_cannot_be_read_further_is_told_and_the_next_one_answered(
    spamgpt, trained_workspace, tmp_path
):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a.txt.gz").write_bytes(gzip.compress(b"first\n" * 999)[:-9])
    (folder / "b.csv").write_bytes(b"text,text\nx,y\n")
    (folder / "c.txt").write_bytes(b"last\n")
    result = spamgpt("predict", folder, "--json", "-w", trained_workspace)
    rows = rows_of(result)
    assert "a.txt.gz cannot be unpacked" in rows[-3]["error"]
    assert "names a column twice" in rows[-2]["error"]
    assert rows[-1]["text"] == "last"
    assert result.status == 4


def test_numbers_that_json_does_not_know_become_null(predict):
    row = '{"text": "hi", "a": NaN, "b": [1e999, {"c": -Infinity}], "d": 1.5}\n'
    out = predict(row, "--json", name="a.jsonl").out
    found = json.loads(out, parse_constant=pytest.fail)
    assert (found["a"], found["b"], found["d"]) == (None, [None, {"c": None}], 1.5)
    out = predict(row, "--format", "csv", name="a.jsonl").out
    (found,) = csv.DictReader(io.StringIO(out))
    assert found["b"] == '[null, {"c": null}]'


def test_an_error_is_an_object_on_standard_output_with_json(spamgpt, trained_workspace):
    result = spamgpt("predict", "none.txt", "--json", "-w", trained_workspace)
    assert rows_of(result) == [
        {"error": "There is no file none.txt.", "hint": "Check the path.", "exit_status": 3}
    ]
    (usage,) = rows_of(spamgpt("evaluate", "--json", "--nonsense"))
    assert usage["exit_status"] == 2
    assert spamgpt("predict", "none.txt", "-w", trained_workspace).out == ""


def test_a_long_message_is_judged_by_its_ends_or_told(predict):
    text = "see you later " * 1000 + SPAM
    limit = ("--max-message-size", 0.01)
    result = predict(f"{text}\n{HAM}\n", *limit, "--json")
    long, short = rows_of(result)
    assert long["bytes_left_out"] > 3000
    assert (long["label"], long["text"].endswith(SPAM)) == ("spam", True)
    assert long["text"].startswith("see you later")
    assert (short["text"], "bytes_left_out" in short) == (HAM, False)
    assert "beginning and end: 1" in result.err
    result = predict(f"{text}\n{HAM}\n", *limit, "--oversized", "error")
    assert result.status == 4
    assert "--max-message-size" in result.err
    assert [row[0] for row in cells_of(result)] == ["error", "ham"]


def test_a_long_message_is_passed_on_whole(predict):
    lines = "see you later " * 1000 + f"\n{SPAM}\n"
    for limit in (0.01, 4):
        options = ("--only", "ham", "--threshold", 1, "--max-message-size", limit)
        assert predict(lines, *options).out == lines


def test_a_very_long_message_is_read_in_four_windows_and_told(predict):
    result = predict("see you later " * 1000, "--json")
    (row,) = rows_of(result)
    assert (row["windows"], row["windows_left_out"] > 100) == (4, True)
    assert "read in windows, of 1 of them not all: 1." in result.err


@pytest.mark.parametrize("encoding", ["utf-16-le", "cp1252"])
def test_text_that_is_not_utf_8_is_told_with_a_guess_and_read_when_named(predict, encoding):
    data = "see you at the café\nsee you later\n".encode(encoding)
    assert f"give --encoding {encoding}" in predict(data).err
    result = predict(data, "--encoding", encoding)
    assert [row[2] for row in cells_of(result)] == ["see you at the café", "see you later"]


def test_a_byte_order_mark_names_the_encoding(predict):
    result = predict("text\nsee you at the café\n".encode("utf-16"), name="a.csv")
    assert result.out.endswith("\tsee you at the café\n")
    assert "--encoding" not in result.err


@pytest.mark.parametrize("name", ["nonsense", "hex"])
def test_an_unknown_encoding_is_told(predict, name):
    assert predict("hi\n", "--encoding", name).status == 2


def test_cells_that_a_spreadsheet_would_compute_can_be_escaped(predict):
    table = "text,=n\n=1+1,@a\n+1,-1\nhi,ok\n"
    out = predict(table, "--format", "csv", "--escape-formulas", name="a.csv").out
    header, *rows = csv.reader(io.StringIO(out))
    assert header[2:] == ["text", "'=n"]
    assert [row[2:] for row in rows] == [["'=1+1", "'@a"], ["'+1", "'-1"], ["hi", "ok"]]
    plain = csv.reader(io.StringIO(predict(table, "--format", "csv", name="a.csv").out))
    assert [row[2] for row in plain] == ["text", "=1+1", "+1", "hi"]


def test_a_named_pipe_is_read(spamgpt, trained_workspace, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    threading.Thread(target=pipe.write_bytes, args=[b"see you\n"], daemon=True).start()
    assert spamgpt("predict", pipe, "-w", trained_workspace).out.endswith("\tsee you\n")


def test_an_empty_name_is_no_classifier(predict):
    result = predict("hi\n", "--classifier", "")
    assert result.status == 2
    assert "--classifier is empty" in result.err


@pytest.mark.parametrize("command", [[], ["predict"], ["finetune"]])
def test_help_is_no_wider_than_the_terminal(spamgpt, monkeypatch, command):
    for columns in (30, 50, 80):
        size = os.terminal_size((columns, 9))
        monkeypatch.setattr(shutil, "get_terminal_size", lambda *_, size=size: size)
        assert max(map(len, spamgpt(*command, "--help").out.splitlines())) <= columns


def test_the_shell_completes_commands_and_choices(spamgpt, monkeypatch):
    monkeypatch.setenv("_SPAMGPT_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "spamgpt pred")
    monkeypatch.setenv("COMP_CWORD", "1")
    assert spamgpt().out.split() == ["predict"]
    monkeypatch.setenv("COMP_WORDS", "spamgpt predict --on-error s")
    monkeypatch.setenv("COMP_CWORD", "3")
    assert spamgpt().out.split() == ["skip"]
