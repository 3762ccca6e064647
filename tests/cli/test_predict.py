import csv
import gzip
import io
import json
import re
import resource

import pandas as pd
import pytest

from spamgpt.classifier import inference, quick
from spamgpt.data.batches import batches_by_length
from spamgpt.printable import printable


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


@pytest.mark.parametrize("name", ["a.parquet", "a.xlsx"])
def test_tables_in_binary_files_are_answered(predict, tmp_path, name):
    table = pd.DataFrame({"id": [1, 2], "text": [SPAM, HAM]})
    path = tmp_path / "table"
    table.to_parquet(path) if name == "a.parquet" else table.to_excel(path, engine="openpyxl")
    answers = predict(path.read_bytes(), "--json", name=name).out.splitlines()
    found = [json.loads(answer) for answer in answers]
    assert [(row["label"], row["text"], int(row["id"])) for row in found] == [
        ("spam", SPAM, 1),
        ("ham", HAM, 2),
    ]
    (kept,) = predict(path.read_bytes(), "--only", "ham", name=name).out.splitlines()
    assert json.loads(kept)["text"] == HAM


def test_a_table_in_a_binary_file_cannot_be_followed(spamgpt, tmp_path):
    result = spamgpt("predict", "--watch", tmp_path / "a.parquet")
    assert result.status == 2
    assert "cannot be followed" in result.err


def test_only_keeps_the_header_of_a_table(predict):
    lines = f'n,text\n1,"{HAM}, ok"\n2,{SPAM}\n3,{HAM}\n'
    assert predict(lines, "--only", "ham", name="a.csv").out == lines.replace(f"2,{SPAM}\n", "")
    assert predict(f"text\tn\n{HAM}\t1\n", "--only", "ham", name="a.tsv").out == (
        f"text\tn\n{HAM}\t1\n"
    )


def test_other_columns_pass_through(predict):
    table = f'id,label,body\n7,"a\tb",{SPAM}\n8,,"{HAM}\nx"\n'
    options = ("--text-column", "body", "--quiet")
    rows = predict(table, *options, "--json", name="a.csv").out.splitlines()
    assert [(row["text"], row["id"], row["input_label"]) for row in map(json.loads, rows)] == [
        (SPAM, "7", "a\tb"),
        (HAM + "\nx", "8", ""),
    ]
    out = predict(table, *options, "--format", "csv", name="a.csv").out
    assert [row["input_label"] for row in csv.DictReader(io.StringIO(out))] == ["a\tb", ""]
    assert out.splitlines()[0] == "label,probability,text,id,input_label"
    first, second = predict(table, *options, name="a.csv").out.splitlines()
    assert first.split("\t")[2:] == [SPAM, "7", "a\\tb"]
    assert second.split("\t")[2:] == [HAM + "\\nx", "8", ""]


def test_values_of_jsonl_pass_through_as_they_are(predict):
    row = {"text": "hi", "n": 1, "none": None, "list": ["é", {"a": 2.5}], "probability": "x"}
    out = json.loads(predict(json.dumps(row) + "\n", "--json", name="a.jsonl").out)
    assert {name: out[name] for name in ("n", "none", "list")} == {
        "n": 1,
        "none": None,
        "list": ["é", {"a": 2.5}],
    }
    assert out["input_probability"] == "x"


@pytest.mark.parametrize(("name", "format"), [("a.jsonl", "jsonl"), ("a.csv", "csv")])
def test_what_predict_wrote_can_be_predicted_again_and_again_and_no_column_is_lost(
    predict, name, format
):
    if format == "csv":
        content = f"label,text,input_label,id\nfirst,{SPAM},second,7\n"
    else:
        row = {"label": "first", "text": SPAM, "input_label": "second", "id": "7"}
        content = json.dumps(row) + "\n"
    for round in range(1, 4):
        content = predict(content, "--format", format, "--quiet", name=name).out
        (row,) = csv.DictReader(io.StringIO(content)) if format == "csv" else [json.loads(content)]
        assert (row["label"], row["text"], row["id"]) == ("spam", SPAM, "7")
        labels = [value for key, value in row.items() if key.endswith("label")]
        assert sorted(labels) == sorted(["first", "second", *["spam"] * round])
        probabilities = [key for key in row if key.endswith("probability")]
        assert len(probabilities) == round
        assert row["input_" * round + "label"] == "first"
        assert row["input_" * (round + 1) + "label"] == "second"


def test_columns_are_called_the_same_in_every_row(predict):
    rows = '{"text": "a", "label": 1}\n{"text": "b", "label": 2, "input_label": 3}\n'
    first, second = map(json.loads, predict(rows, "--json", name="a.jsonl").out.splitlines())
    assert (first["input_label"], second["input_label"]) == (1, 2)
    assert second["input_input_label"] == 3


def test_columns_that_the_first_message_does_not_have_are_told_to_be_left_out(predict):
    rows = '{"text": "a", "n": 1}\n{"text": "b", "m": 2}\n'
    result = predict(rows, "--format", "csv", name="a.jsonl")
    assert [row["n"] for row in csv.DictReader(io.StringIO(result.out))] == ["1", ""]
    assert "warning: The columns m are left out" in result.err
    assert json.loads(predict(rows, "--json", name="a.jsonl").out.splitlines()[1])["m"] == 2


def test_a_tsv_whose_header_lacks_the_text_column_is_told(predict):
    result = predict("id\tbody\n1\thi\n", name="a.tsv")
    assert result.status == 4
    assert "has no 'text'" in result.err
    assert "The columns are id, body." in result.err


def test_a_table_without_messages_is_a_header(predict):
    assert predict("text\n", "--format", "csv", name="a.csv").out == "label,probability,text\n"


def test_a_summary_comes_last_on_standard_error_unless_quiet(predict):
    text = f"{SPAM}\n{HAM}\n{HAM}\n"
    assert re.fullmatch(r"3 messages: 2 ham, 1 spam \([\d,]+ messages/s\)\n", predict(text).err)
    assert predict(text, "--only", "spam").err.startswith("3 messages: 2 ham, 1 spam")
    assert predict("").err == "0 messages\n"
    assert predict(text, "--quiet").err == ""
    assert predict(f"{SPAM}\n").err == ""  # one answer needs none


def test_unsure_is_an_answer_of_its_own(predict):
    (spam,) = (json.loads(predict(f"{SPAM}\n", "--json").out)["probability"],)
    limits = ("--unsure", spam - 0.01, min(1, spam + 0.005))
    result = predict(f"{SPAM}\n{HAM}\n", *limits)
    assert result.out.startswith(f"unsure\t{spam:.4f}\t{SPAM}\nham\t")
    assert predict(f"{SPAM}\n{HAM}\n", *limits, "--only", "unsure").out == f"{SPAM}\n"
    assert predict(f"{SPAM}\n", "--unsure", 0.1, spam - 0.01).out.startswith("spam")


@pytest.mark.parametrize(
    "options",
    [
        ["--unsure", "0.8", "0.2"],
        ["--unsure", "0.5", "1.5"],
        ["--unsure", "0.2", "0.8", "--threshold", "0.5"],
        ["--only", "unsure"],
        ["--add-header", "--format", "csv"],
        ["--watch", "b.txt"],
        ["--exit-code", "--input-format", "csv"],
        ["--exit-code", "--input-format", "mbox"],
    ],
)
def test_options_that_do_not_go_together_are_told(predict, options):
    result = predict("hi\n", *options)
    assert result.status == (3 if "--exit-code" in options else 2)
    assert result.out == ""
    assert "hint:" in result.err


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


def test_a_message_longer_than_the_context_is_read_in_windows_and_told(predict):
    result = predict("x" * 65 + "\nshort\n")
    assert result.status == 0
    assert len(result.out.splitlines()) == 2
    assert "of more than 64 tokens, read in windows: " in result.err
    assert json.loads(predict("x" * 65, "--json").out)["windows"] == 2
    assert "windows" not in json.loads(predict("short", "--json").out)


def test_an_explanation_covers_the_text_and_names_its_method(predict):
    row = json.loads(predict(f"{SPAM} é\n", "--explain", "--json").out)
    assert "".join(span["text"] for span in row["explanation"]) == row["text"]
    for span in row["explanation"]:
        assert row["text"][span["start"] : span["end"]] == span["text"]
    assert row["explained_by"].startswith("occlusion")
    assert max(row["explanation"], key=lambda span: span["weight"])["weight"] > 0
    assert "explanation" not in json.loads(predict(SPAM, "--json").out)


def test_tables_list_the_words_that_drove_the_answer(predict):
    (cells,) = (line.split("\t") for line in predict(SPAM, "--explain").out.splitlines())
    assert cells[2] == SPAM
    words = [part.rpartition(" (+")[0] for part in cells[3].split(", ")]
    assert words
    assert set(words) <= set(SPAM.split())
    content = f"id,text,explanation\n7,{SPAM},mine\n"
    out = predict(content, "--explain", "--format", "csv", name="a.csv").out
    (row,) = csv.DictReader(io.StringIO(out))
    assert row["explanation"] == cells[3]
    assert (row["id"], row["input_explanation"]) == ("7", "mine")


def test_of_an_unsure_answer_what_spoke_for_spam_is_told(predict):
    sure = json.loads(predict(HAM, "--explain", "--json").out)
    row = json.loads(predict(HAM, "--explain", "--json", "--unsure", "0", "1").out)
    assert (sure["label"], row["label"]) == ("ham", "unsure")
    opposite = [-span["weight"] for span in sure["explanation"]]
    assert [span["weight"] for span in row["explanation"]] == pytest.approx(opposite, abs=1e-3)


@pytest.mark.parametrize("options", [["--only", "spam"], ["--add-header"], ["--exit-code"]])
def test_messages_that_are_passed_on_are_not_explained(predict, options):
    result = predict(SPAM, "--explain", *options)
    assert result.status in (2, 3)
    assert "--explain" in result.err


@pytest.mark.parametrize(
    ("command", "precision", "module"),
    [("predict", "fp32", quick), ("predict", "bf16", inference), ("evaluate", "fp32", inference)],
)
def test_how_many_tokens_are_computed_at_once_can_be_set(
    spamgpt, trained_workspace, tmp_path, monkeypatch, command, precision, module
):
    asked = []

    def listening(messages, most_tokens):
        asked.append(most_tokens)
        return batches_by_length(messages, most_tokens)

    monkeypatch.setattr(module, "batches_by_length", listening)
    (tmp_path / "a.txt").write_text(f"{HAM}\n")
    arguments = [tmp_path / "a.txt"] if command == "predict" else ["--json"]
    options = "--precision", precision, "-w", trained_workspace
    result = spamgpt(command, *arguments, "--max-batch-tokens", 77, *options)
    assert result.status == 0, result.err
    assert set(asked) == {77}


def test_a_missing_file_ends_with_status_3(spamgpt, trained_workspace):
    result = spamgpt("predict", "none.txt", "-w", trained_workspace)
    assert result.status == 3
    assert "none.txt" in result.err


def test_a_missing_file_is_told_before_any_answer(spamgpt, trained_workspace, tmp_path):
    (tmp_path / "a.txt").write_text("hi\n")
    result = spamgpt("predict", tmp_path / "a.txt", tmp_path / "b.txt", "-w", trained_workspace)
    assert (result.status, result.out) == (3, "")
    assert "b.txt" in result.err


def test_files_are_opened_one_after_another(spamgpt, trained_workspace, tmp_path):
    for number in range(60):
        (tmp_path / f"{number}.txt").write_text("hi\n")
    few = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (48, few[1]))
    try:
        result = spamgpt("predict", *tmp_path.glob("*.txt"), "-w", trained_workspace)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, few)
    assert result.status == 0, result.err
    assert result.out.count("\n") == 60


def test_a_folder_is_read_with_what_is_in_it(spamgpt, trained_workspace, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "b.txt").write_text("second\n")
    (folder / "a.jsonl.gz").write_bytes(gzip.compress(b'{"text": "first"}\n'))
    (folder / "picture.png").write_bytes(b"no text")
    result = spamgpt("predict", folder, "-w", trained_workspace)
    assert [line.split("\t")[2] for line in result.out.splitlines()] == ["first", "second"]
    assert result.err.startswith("warning: Files skipped because their names show no format: 1,")


def test_an_empty_folder_ends_with_status_3(spamgpt, trained_workspace, tmp_path):
    (tmp_path / "empty").mkdir()
    assert spamgpt("predict", tmp_path / "empty", "-w", trained_workspace).status == 3


def test_a_bad_row_ends_with_status_4_after_the_answers_before_it(predict):
    result = predict('{"text": "hi"}\nnonsense\n', "--on-error", "fail", name="a.jsonl")
    assert result.status == 4
    assert result.out.endswith("\thi\n")
    assert "a.jsonl, line 2" in result.err


@pytest.mark.parametrize("character", "\x1b\x00\x7f\x9b\r\u202e\u2028\u200b\u200d\ufeff\xad")
def test_text_that_could_steer_a_terminal_is_spelled_out(character):
    shown = printable(f"a{character}b")
    assert shown == f"a\\u{ord(character):04x}b"


def test_other_text_is_shown_as_it_is():
    text = 'Größe 😀 👩‍👩‍👧 می‌خواهم "quoted" \\ [bold]'
    assert printable(text) == text


def test_unseen_characters_beyond_the_first_plane_are_spelled_out():
    assert printable("fr\U000e0065e") == "fr\\U000e0065e"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--output", "out"], "--output is for --engine ray"),
        (["--format", "parquet"], "--format parquet is for --engine ray"),
        (["--engine", "ray"], "--engine ray needs a folder for the answers"),
        (["--engine", "ray", "--output", "out", "--save"], "--save and --engine ray cannot be"),
        (["--engine", "ray", "--output", "out", "--format", "tsv"], "does not write --format tsv"),
    ],
)
def test_options_of_the_other_engine_are_refused(predict, options, reason):
    result = predict(SPAM, *options)
    assert result.status == 2
    assert reason in result.err


def test_standard_input_is_not_for_several_workers(spamgpt):
    result = spamgpt("predict", "--engine", "ray", "--output", "out")
    assert result.status == 2
    assert "Standard input cannot be read by several workers" in result.err
