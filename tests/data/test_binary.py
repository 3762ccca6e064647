import datetime
import io
import json
import random
import sys
import zipfile

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from spamgpt.data import binary
from spamgpt.data.binary import READERS, excel_lines, parquet_lines
from spamgpt.errors import BadDataError, MissingInputError

ROWS = [
    {"label": "ham", "text": "see\nyou é 😀", "when": 7},
    {"label": "spam", "text": 'say "WIN"', "when": None},
]


@pytest.fixture
def parquet(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_pylist(ROWS), path)
    return path


@pytest.fixture
def workbook(tmp_path):
    """Makes a workbook of rows of cells."""

    def make(*rows):
        path = tmp_path / "a.xlsx"
        book = openpyxl.Workbook()
        for row in rows:
            book.active.append(row)
        book.save(path)
        return path

    return make


def read(path):
    lines = list(READERS[path.suffix](path, "the file"))
    return [json.loads(line) if line.strip() else None for line in lines]


def test_rows_of_parquet_come_with_their_types(parquet):
    assert read(parquet) == ROWS


def test_parquet_is_read_in_parts(parquet, monkeypatch):
    monkeypatch.setattr(binary, "_ROWS_AT_ONCE", 1)
    lines = parquet_lines(parquet, "the file")
    assert json.loads(next(lines)) == ROWS[0]
    lines.close()
    assert read(parquet) == ROWS


def test_memory_does_not_grow_with_a_row_group(tmp_path):
    path = tmp_path / "a.parquet"
    texts = [random.Random(number).randbytes(1000).hex() for number in range(20_000)]
    pq.write_table(pa.table({"text": texts}), path, row_group_size=20_000)  # 24 MB compressed
    del texts
    before = pa.total_allocated_bytes()
    lines = parquet_lines(path, "the file")
    next(lines)
    assert pa.total_allocated_bytes() - before < 10_000_000
    lines.close()


def test_what_json_does_not_know_becomes_text(tmp_path):
    path = tmp_path / "a.parquet"
    day = datetime.date(2024, 5, 1)
    pq.write_table(pa.table({"text": [b"caf\xc3\xa9"], "when": [day], "tags": [["a", "b"]]}), path)
    assert read(path) == [{"text": "café", "when": "2024-05-01", "tags": ["a", "b"]}]


def test_bytes_that_are_no_utf8_stay_what_they_are(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": [b"caf\xe9"]}), path)
    assert list(parquet_lines(path, "x")) == [b'{"text": "caf\xe9"}\n']
    # Which is a text that lies about its encoding.
    latin = pa.StringArray.from_buffers(
        1, pa.py_buffer(b"\0\0\0\0\4\0\0\0"), pa.py_buffer(b"caf\xe9")
    )
    pq.write_table(pa.table({"text": latin}), path)
    with pytest.raises(BadDataError, match="x holds text that is not UTF-8"):
        list(parquet_lines(path, "x"))


def test_a_column_that_is_there_twice_is_refused(tmp_path, workbook):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_arrays([pa.array(["a"])] * 2, ["text", "text"]), path)
    for file in (path, workbook(["text", "text"], ["a", "b"])):
        with pytest.raises(BadDataError, match="the file names a column twice"):
            read(file)


def test_rows_of_a_workbook_are_strings_numbered_as_in_excel(workbook):
    path = workbook(
        ["label", "text", None, "when"],
        ["ham", "NA", "a note in no column", datetime.datetime(2024, 5, 1, 7, 30)],
        [],
        [5, "=1+1", None, 0.5],
    )
    assert read(path) == [
        None,
        {"label": "ham", "text": "NA", "when": "2024-05-01 07:30:00"},
        None,
        # A formula without the value that Excel would have kept.
        {"label": "5", "text": "", "when": "0.5"},
    ]


def test_only_the_first_sheet_is_read(workbook):
    path = workbook(["text"], ["a"])
    book = openpyxl.load_workbook(path)
    book.create_sheet("other").append(["text"])
    book.save(path)
    assert read(path) == [None, {"text": "a"}]


def test_an_encrypted_or_old_workbook_is_told(tmp_path):
    path = tmp_path / "a.xlsx"
    path.write_bytes(bytes.fromhex("d0cf11e0a1b11ae1") + bytes(1000))
    with pytest.raises(BadDataError, match=r"the file is encrypted or .*before 2007") as told:
        read(path)
    assert "without a password" in told.value.hint


def test_a_workbook_that_unpacks_to_too_much_is_refused(workbook, monkeypatch):
    monkeypatch.setattr(binary, "LARGEST_SPREADSHEET", 1000)
    with pytest.raises(BadDataError, match="more than the 1,000 allowed"):
        read(workbook(["text"], ["a"]))


@pytest.mark.parametrize("suffix", READERS)
@pytest.mark.parametrize("content", [b"", b"label,text\nham,hi\n", b"PK\x03\x04", b"PAR1PAR1"])
def test_other_files_under_such_a_name_are_told(tmp_path, suffix, content):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    with pytest.raises(BadDataError, match="the file cannot be read as") as told:
        read(path)
    assert "\n" not in told.value.message


def zip_of_something():
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("a.txt", "hi")
    return archive.getvalue()


def test_an_archive_that_is_no_workbook_is_told(tmp_path):
    path = tmp_path / "a.xlsx"
    path.write_bytes(zip_of_something())
    with pytest.raises(BadDataError, match="cannot be read as an Excel workbook"):
        read(path)


def test_damage_anywhere_ends_with_an_error_for_users_or_does_no_harm(parquet, workbook):
    draw = random.Random(1)
    messages = []
    for path in (parquet, workbook(["label", "text"], ["ham", "hi"])):
        whole = path.read_bytes()
        for number in range(60):
            damaged = bytearray(whole)
            damaged[draw.randrange(len(whole))] ^= 1 << draw.randrange(8)
            path.write_bytes(damaged if number % 2 else whole[: draw.randrange(len(whole))])
            try:
                read(path)
            except BadDataError as error:
                messages.append(error.message)
    assert messages
    assert not any("\n" in message for message in messages)


@pytest.mark.parametrize(
    ("reader", "library", "extra"),
    [(parquet_lines, "pyarrow", "parquet"), (excel_lines, "openpyxl", "excel")],
)
def test_a_missing_library_is_named(tmp_path, monkeypatch, reader, library, extra):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingInputError, match=library) as told:
        list(reader(tmp_path / "a", "a"))
    assert f"'spamgpt[{extra}]'" in told.value.hint
