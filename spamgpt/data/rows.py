"""Reads messages row by row from lines, TSV, CSV and JSONL, in constant memory.

One reader serves labelled data sets and streams to classify, so that a file means the same to both.
"""

import csv
import json
import re
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import PurePath

from spamgpt.data.encodings import guessed_encoding
from spamgpt.data.records import Excerpt, Record, pieces
from spamgpt.errors import BadDataError, SpamgptError

LINES, TSV, CSV, JSONL = "lines", "tsv", "csv", "jsonl"
TEXT, LABEL = "text", "label"
# The column that says where a message came from.
SOURCE = "source"
SPLITS = ("train", "validation", "test")

# A record longer than this has a forgotten closing quote, where no limit is given.
_LONGEST_CSV_RECORD = 10_000_000


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
    where these are more than strings (numbers, lists and nulls of JSONL). `error` says why a record
    cannot be read; it has no fields then.
    """

    line: int
    raw: bytes
    fields: dict[str, str]
    end: bytes = b"\n"
    header: bytes | None = None
    values: Mapping[str, object] = field(default_factory=dict)
    error: SpamgptError | None = None


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
    strict: bool = True,
    record: Record | None = None,
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
    lines come. A line may come in pieces; of one beyond the limit of `record` the text is its
    beginning and its end, whatever the format. Raises BadDataError naming the source, the line and
    the reason; unless `strict` only where a table as a whole cannot be read, while a bad record is
    a row with an error.
    """
    readers = {LINES: _read_lines, TSV: _read_tsv, CSV: _read_csv, JSONL: _read_jsonl}
    record = record or Record()
    return readers[format](
        _Source(lines, source, text_column, undecodable, lines_ahead, strict, record)
    )


@dataclass
class _Source:
    """Decoded lines with their numbers, and errors that name them."""

    lines: Iterable[bytes]
    name: str
    text_column: str
    undecodable: str
    lines_ahead: int
    strict: bool
    record: Record

    def __iter__(self) -> Iterator[tuple[int, bytes, str]]:
        for number, line in enumerate(self._whole_lines(), start=1):
            raw = line
            if number == 1:
                raw = _without_mark(raw)
            if isinstance(raw, Excerpt):
                yield number, raw, raw.text()
                continue
            try:
                text = raw.decode("utf-8", self.undecodable)
            except UnicodeDecodeError as error:
                raise not_utf_8(self.name, number, raw, error) from error
            yield number, raw, text

    def _whole_lines(self) -> Iterator[bytes]:
        """The lines without their ends."""
        record = self.record
        for piece in pieces(self.lines, record.limit):
            if record.length:
                record.add(piece)
                if piece.endswith(b"\n"):
                    yield record.take(without=b"\n")
            elif piece.endswith(b"\n"):
                yield piece[:-1]
            else:
                record.add(piece)
        if record.length:
            yield record.take()

    def bad(self, line: int, raw: bytes, reason: str, names: Collection[str] = ()) -> Row:
        """The row of a record that cannot be used; raises its error where that ends the reading."""
        error = bad_row(self.name, line, reason, names)
        if self.strict:
            raise error
        return Row(line, raw, {}, error=error)

    def excerpt(self, line: int, raw: bytes, text: str) -> Row:
        """The row of a record beyond the limit."""
        return Row(line, raw, {self.text_column: text})


def _without_mark(raw: bytes) -> bytes:
    """A first line without the byte order mark of UTF-8."""
    return raw if isinstance(raw, Excerpt) else raw.removeprefix(b"\xef\xbb\xbf")


def bad_row(source: str, line: int, reason: str, names: Collection[str] = ()) -> BadDataError:
    """The error for a row that cannot be used.

    Of a table without a header the `names` of its columns are a message: only the hint tells them,
    which a server keeps for itself.
    """
    columns = f"The columns are {', '.join(names)}. " if names else ""
    return BadDataError(f"{source}, line {line}: {reason}.", f"{columns}Correct or remove the row.")


def missing_field(source: str, row: Row, column: str) -> BadDataError:
    """The error for a row that has no value for a column."""
    if column in row.values:
        return bad_row(source, row.line, f"{column!r} is null")
    return bad_row(source, row.line, f"has no {column!r}", row.fields)


def not_utf_8(source: str, line: int, raw: bytes, error: UnicodeDecodeError) -> BadDataError:
    """The error for bytes that cannot be decoded."""
    guess = guessed_encoding(raw)
    return BadDataError(
        f"{source}, line {line}: is not UTF-8 ({error.reason}).",
        f"It looks like {guess}: name it with `encoding={guess}`, or correct the row.",
    )


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
        if isinstance(raw, Excerpt):
            yield source.excerpt(number, raw, text)
            continue
        cells = text.split("\t", len(names) - 1)
        if len(cells) != len(names):
            yield source.bad(number, raw, _wrong_number(names, cells), names)
            continue
        fields = dict(zip(names, cells, strict=True))
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
    lines = _CsvLines(source)
    reader = csv.reader(lines, strict=True)
    names: list[str] | None = None
    header = b""
    while True:
        lines.taken.clear()
        reason = ""
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            fields, reason = [], _reason(error)
            reader = csv.reader(lines, strict=True)
        number, raw, text = lines.taken[0]
        if isinstance(raw, Excerpt):
            yield source.excerpt(number, raw, text)
            continue
        if names is not None and fields and len(fields) != len(names):
            reason = _wrong_number(names, fields)
        if reason:
            # Often a stray quote made one record of many lines; all but the first may be good.
            if source.strict or names is None or not lines.put_back_all_but_first():
                raw = lines.raw
            bad = source.bad(number, raw, reason, names or ())
            if names is None and bad.error:
                raise bad.error  # without the names of its columns no row can be read
            yield bad
        elif fields and names is None:
            names, header = fields, lines.raw
            _check_names(source, number, names)
        elif fields and names is not None:
            yield Row(number, lines.raw, dict(zip(names, fields, strict=True)), header=header)


class _CsvLines:
    """The lines of a CSV file; those of the record being read are `taken` and can be put back."""

    def __init__(self, source: _Source) -> None:
        self.taken: list[tuple[int, bytes, str]] = []
        self._lines = iter(source)
        self._again: deque[tuple[int, bytes, str]] = deque()
        self._limit = source.record.limit or _LONGEST_CSV_RECORD
        self._read = self._put_back = self._size = 0
        csv.field_size_limit(self._limit)

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if not self.taken:
            self._size = 0
        elif self._size > self._limit:
            raise csv.Error(_TOO_LONG)
        line = self._again.popleft() if self._again else self._next()
        self.taken.append(line)
        self._size += len(line[1])
        return line[2] + "\n"

    def _next(self) -> tuple[int, bytes, str]:
        line = next(self._lines)
        self._read += len(line[1]) + 1
        return line

    @property
    def raw(self) -> bytes:
        """The record being read."""
        if len(self.taken) == 1:
            return self.taken[0][1]
        return b"\n".join(raw for _, raw, _ in self.taken)

    def put_back_all_but_first(self) -> bool:
        """Lets the lines after the record's first be read again, which is done or refused.

        It is refused where the time would no longer grow as the input does.
        """
        if self._put_back > 4 * self._read + self._limit:
            return False
        self._put_back += self._size
        self._again.extendleft(reversed(self.taken[1:]))
        return True


_TOO_LONG = "a quote is not closed, or the record is too long"
# What the csv module says, for people who read no Python.
_REASONS = {
    "new-line character seen in unquoted field": "is not CSV (a lone carriage return)",
    "unexpected end of data": "is not CSV (a quote is not closed)",
    "field larger than field limit": f"is not CSV ({_TOO_LONG})",
    "expected after": "is not CSV (a quote within a quoted field is not doubled)",
}


def _reason(error: csv.Error) -> str:
    said = str(error)
    known = (ours for theirs, ours in _REASONS.items() if theirs in said)
    return next(known, f"is not CSV ({said})")


def _read_jsonl(source: _Source) -> Iterator[Row]:
    for number, raw, text in source:
        if isinstance(raw, Excerpt):
            yield source.excerpt(number, raw, text)
            continue
        if not text.strip(" \t\r\n\v\f"):  # nothing that somebody could have meant
            continue
        try:
            value = json.loads(text)
            if not isinstance(value, dict):
                yield source.bad(number, raw, "is not a JSON object")
                continue
            fields = {
                name: item if isinstance(item, str) else json.dumps(item, ensure_ascii=False)
                for name, item in value.items()
                if item is not None
            }
        except (ValueError, RecursionError) as error:
            yield source.bad(number, raw, f"is not JSON ({error})")
            continue
        yield Row(number, raw, fields, values=value)


def _check_names(source: _Source, line: int, names: list[str]) -> None:
    if len(set(names)) < len(names):
        raise bad_row(source.name, line, "names a column twice")


def _wrong_number(names: list[str], cells: list[str]) -> str:
    return f"has {len(cells)} fields, not {len(names)}"
