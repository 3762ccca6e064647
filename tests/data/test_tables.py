import json
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spamgpt.data.tables import join_tables, read_labelled_file, read_table, write_table
from spamgpt.errors import BadDataError

AWKWARD = [
    "",
    "NA",
    "null",
    "nan",
    '"',
    '""',
    "a,b",
    "a\tb",
    "a\nb",
    "a\rb",
    "a\r\nb",
    "\0",
    "😀 é",
]
any_text = st.text(st.characters(exclude_categories=["Cs"]))


def round_trip(texts: list[str], folder: Path) -> list[str]:
    path = folder / "table.csv"
    write_table(pd.DataFrame({"label": "ham", "text": texts}, dtype="str"), path)
    return list(read_table(path)["text"])


def test_awkward_texts_survive_byte_for_byte(tmp_path):
    assert round_trip(AWKWARD, tmp_path) == AWKWARD


@given(texts=st.lists(st.one_of(any_text, st.sampled_from(AWKWARD)), min_size=1))
def test_any_text_survives_byte_for_byte(texts, tmp_path_factory):
    assert round_trip(texts, tmp_path_factory.mktemp("table")) == texts


def test_written_tables_are_read_the_same_by_pandas(tmp_path):
    path = tmp_path / "table.csv"
    texts = [text for text in AWKWARD if "\0" not in text]  # which pandas' reader cuts at
    write_table(pd.DataFrame({"text": texts}, dtype="str"), path)
    read = pd.read_csv(path, dtype=str, keep_default_na=False, lineterminator="\n")
    assert list(read["text"]) == texts


def test_the_same_messages_come_out_of_every_format(tmp_path):
    messages = [("ham", "see you"), ("spam", 'say "WIN", now'), ("ham", "")]
    frame = pd.DataFrame(messages, columns=["label", "text"])
    raw = "".join(f"{label}\t{text}\n" for label, text in messages)
    files = {
        "SMSSpamCollection": raw,
        "a.tsv": "label\ttext\n" + raw,
        "a.jsonl": "".join(
            json.dumps({"label": label, "text": text}) + "\n" for label, text in messages
        ),
    }
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    write_table(frame, tmp_path / "a.csv")
    frame.to_parquet(tmp_path / "a.parquet")
    frame.to_excel(tmp_path / "a.xlsx", index=False)
    for name in [*files, "a.csv", "a.parquet", "a.xlsx"]:
        assert read_labelled_file(tmp_path / name).to_dict("list") == frame.to_dict("list")


def test_all_columns_are_kept(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("when,label,text\n2001,ham,hi\n")
    assert list(read_labelled_file(path).columns) == ["when", "label", "text"]


def test_rows_of_jsonl_need_not_have_the_same_fields(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"label": "ham", "text": "a"}\n{"when": 1, "text": "b", "label": "spam"}\n')
    assert read_labelled_file(path).to_dict("list") == {
        "label": ["ham", "spam"],
        "text": ["a", "b"],
        "when": ["", "1"],
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"label": "ham", "text": "a"}\n{"label": "ham"}\n', "line 2: has no 'text'"),
        ('{"text": "\\ud800", "label": "a"}\n', "line 1: has half a surrogate pair in 'text'"),
        ('{"text": null, "label": "a"}\n', "line 1: 'text' is null"),
        ("", "holds no messages"),
    ],
)
def test_rows_that_do_not_make_a_table_are_named(tmp_path, content, message):
    path = tmp_path / "a.jsonl"
    path.write_text(content)
    with pytest.raises(BadDataError, match=message) as caught:
        read_labelled_file(path)
    assert "a.jsonl" in caught.value.message


def test_a_file_that_is_not_utf_8_is_told_with_a_guess_and_read_when_named(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes("label,text\nham,café\n".encode("cp1252"))
    with pytest.raises(BadDataError, match="not UTF-8") as caught:
        read_labelled_file(path)
    assert "`encoding=cp1252`" in caught.value.hint
    assert list(read_labelled_file(path, encoding="cp1252")["text"]) == ["café"]
    with pytest.raises(BadDataError, match="is not ascii"):
        read_labelled_file(path, encoding="ascii")
    path.write_bytes("label,text\nham,café\n".encode("utf-16"))
    assert list(read_labelled_file(path)["text"]) == ["café"]


def table(**columns: list[str]) -> pd.DataFrame:
    return pd.DataFrame(columns, dtype="str")


def test_tables_are_joined_with_their_names_as_sources():
    first = table(text=["a", "b"], label=["ham", "spam"], source=["inbox", ""])
    second = table(label=["ham"], when=["2001"], text=["c"])
    joined = join_tables({"mine": first, "yours": second})
    assert joined.to_dict("list") == {
        "label": ["ham", "spam", "ham"],
        "text": ["a", "b", "c"],
        "source": ["mine/inbox", "mine", "yours"],
        "when": ["", "", "2001"],
    }


def test_a_table_without_texts_cannot_be_joined():
    with pytest.raises(BadDataError, match="yours has no column 'text'; it has 'label', 'body'"):
        join_tables(
            {"mine": table(label=["ham"], text=["a"]), "yours": table(label=["a"], body=["b"])}
        )
