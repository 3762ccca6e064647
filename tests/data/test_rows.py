import io

import pytest

from spamgpt.data.rows import Row, format_of, read_rows
from spamgpt.errors import BadDataError


def rows(text: str | bytes, format: str, **options) -> list[Row]:
    data = text.encode() if isinstance(text, str) else text
    return list(read_rows(io.BytesIO(data), format, "the file", **options))


def texts(text: str | bytes, format: str, **options) -> list[str]:
    return [row.fields["text"] for row in rows(text, format, **options)]


@pytest.mark.parametrize(
    ("name", "format"),
    [
        ("a.csv", "csv"),
        ("A.TSV", "tsv"),
        ("a.jsonl", "jsonl"),
        ("a.ndjson", "jsonl"),
        ("SMSSpamCollection", "lines"),
        ("standard input", "lines"),
    ],
)
def test_the_name_tells_the_format(name, format):
    assert format_of(name) == format


def test_every_line_is_a_message_also_an_empty_one():
    assert texts("a\n\nb", "lines") == ["a", "", "b"]


def test_only_line_feeds_end_a_line():
    assert texts("a\u2028b\x85c\x0bd\n", "lines") == ["a\u2028b\x85c\x0bd"]


def test_windows_line_ends_and_a_byte_order_mark_are_no_part_of_the_text():
    assert texts(b"\xef\xbb\xbfhi\r\nyou\r\n", "lines") == ["hi", "you"]


def test_rows_keep_their_bytes_and_line_numbers():
    found = rows('text,n\n"two\nlines",1\n\nlast,2\n', "csv")
    assert [(row.line, row.raw) for row in found] == [(2, b'"two\nlines",1'), (5, b"last,2")]


def test_quotes_and_further_tabs_of_a_headless_tsv_belong_to_the_text():
    assert rows('ham\t"quoted\tand tabbed\n', "tsv")[0].fields == {
        "label": "ham",
        "text": '"quoted\tand tabbed',
    }


def test_a_tsv_may_have_a_header():
    expected = [{"text": "hi", "label": "ham"}]
    assert [row.fields for row in rows("text\tlabel\nhi\tham\n", "tsv")] == expected
    named = rows("n\tbody\n1\thi\n", "tsv", text_column="body")
    assert [row.fields for row in named] == [{"n": "1", "body": "hi"}]


def test_a_tsv_header_is_known_without_the_text_column():
    assert [row.fields for row in rows("id\tbody\n1\thi\n", "tsv")] == [{"id": "1", "body": "hi"}]
    assert texts("ham\tok\nham\tmy body hurts\n", "tsv") == ["ok", "my body hurts"]


@pytest.mark.parametrize(
    "lines",
    [
        ["ham\tmessage"],
        ["ham\tmessage", "spam\tWIN"],
        ["Ham\ttext", "Spam\tWIN"],
        ["work\tmessage", "home\tmilk", "work\tcall me"],
        ["ham\tbody\tsubject", "ham\tok"],
    ],
)
def test_a_first_message_of_a_tsv_that_reads_like_names_is_not_lost(lines):
    found = rows("\n".join(lines) + "\n", "tsv")
    assert [row.raw.decode() for row in found] == lines
    assert [row.fields["label"] for row in found] == [line.split("\t")[0] for line in lines]


@pytest.mark.parametrize(
    "lines",
    [
        ["spam\ttext", "1\tWIN", "0\tok"],
        ["n\tmessage", "1\tham", "2\tspam"],
        ["label\ttext", "label\tlabels are values, too"],
        ["text"],
    ],
)
def test_a_tsv_header_is_told_by_the_lines_below_it(lines):
    found = rows("\n".join(lines) + "\n", "tsv")
    assert [row.raw.decode() for row in found] == lines[1:]
    assert all(row.header == lines[0].encode() for row in found)


def test_rows_know_the_line_that_names_their_columns():
    assert [row.header for row in rows('text,"n"\r\nhi,1\r\n', "csv")] == [b'text,"n"\r']
    assert [row.header for row in rows("text\tn\nhi\t1\n", "tsv")] == [b"text\tn"]
    assert [row.header for row in rows("ham\thi\n", "tsv")] == [None]


def test_rows_of_jsonl_keep_their_values():
    (row,) = rows('{"text": "hi", "n": 1, "none": null}\n', "jsonl")
    assert row.values == {"text": "hi", "n": 1, "none": None}


def test_csv_fields_hold_quotes_commas_and_line_ends():
    assert texts('text\n"a ""b"", c\r\nd"\n', "csv") == ['a "b", c\r\nd']


def test_jsonl_takes_other_values_as_their_json_and_null_as_absent():
    found = rows('{"text": "hi", "n": 1, "none": null, "list": ["é"]}\n\n', "jsonl")
    assert [row.fields for row in found] == [{"text": "hi", "n": "1", "list": '["é"]'}]


@pytest.mark.parametrize(
    ("text", "format", "line", "reason"),
    [
        (b"ok\nbad \xff\n", "lines", 2, "is not UTF-8"),
        ("ham\thi\nno tab here\n", "tsv", 2, "has 1 fields, not 2."),
        ("ham\thi\n\n", "tsv", 2, "has 1 fields"),
        ("text,label\na,b\nc\n", "csv", 3, "has 1 fields, not 2."),
        ('text\nfine\n"never closed\nmore\n', "csv", 3, "is not CSV"),
        ("text\na\rb\n", "csv", 2, "is not CSV"),
        ("text,text\na,b\n", "csv", 1, "names a column twice"),
        ('{"text": "a"}\n{"text": \n', "jsonl", 2, "is not JSON"),
        ('{"n": ' + "9" * 5000 + "}\n", "jsonl", 1, "is not JSON"),
        ("[1]\n", "jsonl", 1, "is not a JSON object"),
        ("\x1d\n", "jsonl", 1, "is not JSON"),  # white space to Python
        ("[" * 100_000 + "\n", "jsonl", 1, "is not JSON"),
    ],
)
def test_a_bad_row_is_named_with_file_line_and_reason(text, format, line, reason):
    with pytest.raises(BadDataError) as caught:
        rows(text, format)
    assert caught.value.message.startswith(f"the file, line {line}: {reason}")


def test_bytes_that_are_not_utf_8_can_be_replaced_and_stay_as_they_were_in_raw():
    (row,) = rows(b"caf\xe9\n", "lines", undecodable="replace")
    assert row.fields["text"] == "caf\N{REPLACEMENT CHARACTER}"
    assert row.raw == b"caf\xe9"


@pytest.mark.parametrize("format", ["lines", "tsv", "csv", "jsonl"])
def test_rows_come_before_the_stream_ends(format):
    lines = {
        "lines": [b"hi\n"],
        "tsv": [b"ham\thi\n"],
        "csv": [b"text\n", b"hi\n"],
        "jsonl": [b'{"text": "hi"}\n'],
    }

    def stream():
        yield from lines[format]
        pytest.fail("read on before the row was given")

    assert next(read_rows(stream(), format, "the stream")).fields["text"] == "hi"


def test_a_stream_is_answered_before_its_next_line_has_come():
    def lines():
        yield b"queue\ttext\n"
        yield b"mail\tsee you\n"
        raise AssertionError("read ahead")

    first = next(read_rows(lines(), "tsv", "stream", lines_ahead=0))
    assert first.fields == {"queue": "mail", "text": "see you"}
