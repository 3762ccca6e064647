"""Reads messages row by row from lines, TSV, CSV and JSONL, in constant memory.

One reader serves labelled data sets and streams to classify, so that a file means the same to both.
"""

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import PurePath

from spamgpt.errors import BadDataError

LINES, TSV, CSV, JSONL = "lines", "tsv", "csv", "jsonl"
TEXT, LABEL = "text", "label"
# The column that says where a message came from.
SOURCE = "source"
SPLITS = ("train", "validation", "test")

# A field longer than this is a forgotten closing quote, not a message.
_LONGEST_CSV_FIELD = 10_000_000


# The first line of a TSV file may be a header if it has words alone, one of them such a name.
_WORD = re.compile(r"[A-Za-z_][\w.-]*")
_COLUMN_NAME = re.compile(
    "id|labels?|text|messages?|msg|sms|body|subject|content|e?mail|category|class|target|sender|"
    "from|date|time|source",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Row:
    """One message: where it stands, its bytes as they came, its fields.

    `raw` has no line end; `end` is what makes it whole again. `header` is the line, without its
    end, that names the columns of a CSV or TSV file. `values` are the fields as the file has them,
    where these are more than strings (numbers, lists and nulls of JSONL).
    """

    line: int
    raw: bytes
    fields: dict[str, str]
    end: bytes = b"\n"
    header: bytes | None = None
    values: Mapping[str, object] = field(default_factory=dict)


def format_of(name: str) -> str:
    """The format that a file name tells; `lines` for any name that tells none.

    Tables in binary files come as JSON lines (`binary.py`).
    """
    return _FORMATS.get(PurePath(name).suffix.lower(), LINES)


_FORMATS = {
    ".tsv": TSV,
    ".csv": CSV,
    ".jsonl": JSONL,
    ".ndjson": JSONL,
    ".parquet": JSONL,
    ".xlsx": JSONL,
}


def read_rows(
    lines: Iterable[bytes],
    format: str,
    source: str,
    text_column: str = TEXT,
    undecodable: str = "strict",
    lines_ahead: int = 100,
) -> Iterator[Row]:
    """Yields the rows of a stream of lines (each with its line end, as binary files give them).

    - `lines`: a message a line, the field `text`.
    - `tsv`: fields between tabs, quotes are ordinary characters. The first line holds the names if
      it reads like names (`id`, `body`, or a `text_column` of one's own) and the lines after it do
      not show that it is a message, too; otherwise the fields are `label` and `text`, and further
      tabs belong to the text. The latter is the layout of the SMS Spam Collection.
    - `csv`: RFC 4180 with a header line.
    - `jsonl`: an object a line; null counts as absent, other values than strings as their JSON.

    Blank lines of CSV and JSONL hold no message; one of `lines` holds an empty message.
    `undecodable` is the `errors` argument of `bytes.decode`. Where the first line of a TSV does not
    tell whether it is a header, up to `lines_ahead` more are read; 0 suits a stream that answers as
    lines come. Raises BadDataError naming the source,
    the line and the reason.
    """
    readers = {LINES: _read_lines, TSV: _read_tsv, CSV: _read_csv, JSONL: _read_jsonl}
    return readers[format](_Source(lines, source, text_column, undecodable, lines_ahead))


class _Source:
    """Decoded lines with their numbers, and errors that name them."""

    def __init__(
        self,
        lines: Iterable[bytes],
        name: str,
        text_column: str,
        undecodable: str,
        lines_ahead: int,
    ) -> None:
        self.lines = lines
        self.name = name
        self.text_column = text_column
        self.undecodable = undecodable
        self.lines_ahead = lines_ahead

    def __iter__(self) -> Iterator[tuple[int, bytes, str]]:
        for number, line in enumerate(self.lines, start=1):
            raw = line.removesuffix(b"\n")
            if number == 1:
                raw = raw.removeprefix(b"\xef\xbb\xbf")
            try:
                text = raw.decode("utf-8", self.undecodable)
            except UnicodeDecodeError as error:
                raise self.bad_row(number, f"is not UTF-8 ({error.reason})") from error
            yield number, raw, text

    def bad_row(self, line: int, reason: str) -> BadDataError:
        return bad_row(self.name, line, reason)


def bad_row(source: str, line: int, reason: str) -> BadDataError:
    """The error for a row that cannot be used."""
    return BadDataError(f"{source}, line {line}: {reason}.", "Correct or remove the row.")


def _read_lines(source: _Source) -> Iterator[Row]:
    for number, raw, text in source:
        yield Row(number, raw, {TEXT: text.removesuffix("\r")})


def _read_tsv(source: _Source) -> Iterator[Row]:
    lines = ((number, raw, text.removesuffix("\r")) for number, raw, text in source)
    first = next(lines, None)
    if first is None:
        return
    number, header, text = first
    names = text.split("\t")
    ahead: list[tuple[int, bytes, str]] = []
    is_header = _names_columns(names, source.text_column)
    if is_header is None:
        ahead = list(islice(lines, source.lines_ahead))
        is_header = not _is_label(names[0], [text.split("\t", 1)[0] for _, _, text in ahead])
    if is_header:
        _check_names(source, number, names)
    else:
        names = [LABEL, TEXT]
        ahead.insert(0, first)
    for number, raw, text in chain(ahead, lines):
        fields = _named(source, number, names, text.split("\t", len(names) - 1))
        yield Row(number, raw, fields, header=header if is_header else None)


def _names_columns(cells: list[str], text_column: str) -> bool | None:
    """Whether a first line names the columns; None if it alone does not tell."""
    if text_column != TEXT and text_column in cells:
        return True
    reads_like_names = (
        len(cells) > 1
        and all(map(_WORD.fullmatch, cells))
        and any(map(_COLUMN_NAME.fullmatch, cells))
    )
    if not reads_like_names and TEXT not in cells:
        return False
    # Of `n<TAB>message` and `ham<TAB>message` only the first is a header.
    return True if _COLUMN_NAME.fullmatch(cells[0]) else None


def _is_label(cell: str, below: list[str]) -> bool:
    """Whether a column's first cell is one of its values, and not its name."""
    return cell in below or {each.casefold() for each in (cell, *below)} <= {"ham", "spam"}


def _read_csv(source: _Source) -> Iterator[Row]:
    taken: list[tuple[int, bytes]] = []  # the lines of the record being read

    def text_lines() -> Iterator[str]:
        for number, raw, text in source:
            taken.append((number, raw))
            yield text + "\n"

    csv.field_size_limit(_LONGEST_CSV_FIELD)
    reader = csv.reader(text_lines(), strict=True)
    names: list[str] | None = None
    header = b""
    while True:
        taken.clear()
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise source.bad_row(taken[0][0], f"is not CSV ({error})") from error
        number = taken[0][0]
        if not fields:
            continue
        raw = b"\n".join(line for _, line in taken)
        if names is None:
            names, header = fields, raw
            _check_names(source, number, names)
            continue
        yield Row(number, raw, _named(source, number, names, fields), header=header)


def _read_jsonl(source: _Source) -> Iterator[Row]:
    for number, raw, text in source:
        if not text.strip():
            continue
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise source.bad_row(number, f"is not JSON ({error})") from error
        if not isinstance(value, dict):
            raise source.bad_row(number, "is not a JSON object")
        fields = {
            name: item if isinstance(item, str) else json.dumps(item, ensure_ascii=False)
            for name, item in value.items()
            if item is not None
        }
        yield Row(number, raw, fields, values=value)


def _check_names(source: _Source, line: int, names: list[str]) -> None:
    if len(set(names)) < len(names):
        raise source.bad_row(line, "names a column twice")


def _named(source: _Source, line: int, names: list[str], fields: list[str]) -> dict[str, str]:
    if len(fields) != len(names):
        raise source.bad_row(
            line, f"has {len(fields)} fields, not {len(names)} ({', '.join(names)})"
        )
    return dict(zip(names, fields, strict=True))
