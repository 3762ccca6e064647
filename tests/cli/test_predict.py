import csv
import io
import json

import pytest

from spamgpt.cli.printable import printable


@pytest.fixture
def predict(spamgpt, trained_workspace, tmp_path):
    """Runs `spamgpt predict` on a file with the given content."""

    def run(content: str | bytes, *options: object, name: str = "in.txt"):
        file = tmp_path / name
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        return spamgpt("predict", file, "-w", trained_workspace, *options)

    return run


SPAM, HAM = "WIN a FREE prize now!!", "see you later"


def test_a_pipe_gets_label_probability_and_text(predict):
    rows = [line.split("\t") for line in predict(f"{SPAM}\n{HAM}\n\n").out.splitlines()]
    assert [(row[0], row[2]) for row in rows[:2]] == [("spam", SPAM), ("ham", HAM)]
    assert len(rows) == 3
    assert rows[2][2] == ""
    for row in rows:
        assert 0.5 <= float(row[1]) <= 1


def test_only_prints_the_matching_lines_unchanged(predict):
    content = b"see you\tat 7\r\nWIN a FREE prize\nsee you caf\xe9\nlast ok at home"
    result = predict(content, "--only", "ham")
    assert result.out.encode("utf-8", "surrogateescape") != b""
    assert result.out.count("\n") == 3
    assert "see you\tat 7\r\n" in result.out
    assert "WIN" not in result.out
    assert result.out.endswith("last ok at home\n")


def test_only_keeps_the_lines_of_other_formats(predict):
    lines = json.dumps({"id": 1, "text": HAM}) + "\n" + json.dumps({"text": SPAM, "id": 2}) + "\n"
    assert predict(lines, "--only", "ham", name="a.jsonl").out == lines.split("\n")[0] + "\n"


def test_only_can_be_had_in_a_format(predict):
    rows = predict(f"{SPAM}\n{HAM}\n", "--only", "ham", "--format", "jsonl").out.splitlines()
    assert [json.loads(row)["text"] for row in rows] == [HAM]


def test_only_knows_the_labels(predict):
    result = predict("hi\n", "--only", "maybe")
    assert result.status == 2
    assert "Use ham or spam" in result.err


def test_jsonl_holds_every_probability(predict):
    for option in (["--format", "jsonl"], ["--json"]):
        row = json.loads(predict(f"{SPAM} é\n", *option).out)
        assert row["label"] == "spam"
        assert row["text"] == f"{SPAM} é"
        assert sum(row["probabilities"].values()) == pytest.approx(1, abs=1e-5)
        assert row["probability"] == row["probabilities"]["spam"]


def test_csv_is_read_back_by_a_csv_reader(predict):
    content = 'text\n"a ""quote"", and\na line"\n'
    rows = list(csv.DictReader(io.StringIO(predict(content, "--format", "csv", name="a.csv").out)))
    assert [row["text"] for row in rows] == ['a "quote", and\na line']


def test_one_line_each_also_for_texts_of_several_lines(predict):
    result = predict('text\n"two\nlines"\n', name="a.csv")
    assert result.out.count("\n") == 1
    assert result.out.endswith("\ttwo\\nlines\n")


def test_a_message_longer_than_the_context_is_told(predict):
    result = predict("x" * 65 + "\nshort\n")
    assert result.status == 0
    assert len(result.out.splitlines()) == 2
    assert result.err.startswith("warning: 1 messages are longer than the model's 64 tokens")


def test_a_missing_file_ends_with_status_3(spamgpt, trained_workspace):
    result = spamgpt("predict", "none.txt", "-w", trained_workspace)
    assert result.status == 3
    assert "none.txt" in result.err


def test_a_folder_is_no_file(spamgpt, trained_workspace):
    result = spamgpt("predict", trained_workspace, "-w", trained_workspace)
    assert result.status == 3


def test_a_bad_row_ends_with_status_4_after_the_answers_before_it(predict):
    result = predict('{"text": "hi"}\nnonsense\n', name="a.jsonl")
    assert result.status == 4
    assert result.out.endswith("\thi\n")
    assert "a.jsonl, line 2" in result.err


@pytest.mark.parametrize("character", ["\x1b", "\x00", "\x7f", "\x9b", "\r", "\u202e", "\u2028"])
def test_text_that_could_steer_a_terminal_is_spelled_out(character):
    shown = printable(f"a{character}b")
    assert shown == f"a\\u{ord(character):04x}b"


def test_other_text_is_shown_as_it_is():
    text = 'Größe 😀 👩‍👩‍👧 "quoted" \\ [bold]'
    assert printable(text) == text
