"""The messages of files and streams in any format, told apart by name or by their beginning."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

from spamgpt.data.files import format_of
from spamgpt.data.mail import EML, MAIL_FORMATS, MBOX, begins_an_mbox, looks_like_mail, read_mails
from spamgpt.data.rows import LINES, TEXT, Row, bad_row, read_rows

AUTO = "auto"


@dataclass(frozen=True)
class Message:
    """A row, its text, and its other fields as the input has them."""

    row: Row
    text: str
    others: Mapping[str, object]

    @property
    def size(self) -> int:
        """The bytes that it holds, roughly."""
        return len(self.row.raw) + len(self.text)


def read_messages(
    name: str,
    lines: Iterable[bytes],
    format: str = AUTO,
    text_column: str = TEXT,
    untold: str = LINES,
    whole: bool = False,
    undecodable: str = "replace",
) -> Iterator[Message]:
    """The messages of one input, given by its name and its lines (a binary file).

    `format` is lines, tsv, csv, jsonl, eml, mbox, or auto: told by the name. What tells none is an
    mbox if it begins like one, else `untold`. With `whole` the input is one message, a mail or a
    text. `text_column` is the field of a table that holds the message. Outside of mails, which name
    their charset, what is not UTF-8 is read with replacement characters or, if `undecodable` is
    "strict", is an error. Raises BadDataError naming the input and the line.
    """
    if format == AUTO:
        format, lines = _told(name, lines, untold, whole)
    column = TEXT if format in (LINES, *MAIL_FORMATS) else text_column
    if format in MAIL_FORMATS:
        rows = read_mails(lines, format, name)
    elif whole:
        data = b"".join(lines)
        try:
            text = data.decode("utf-8", undecodable).removeprefix("\ufeff").strip("\r\n")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            raise bad_row(name, line, f"is not UTF-8 ({error.reason})") from error
        rows = iter([Row(1, data, {TEXT: text}, end=b"")])
    else:
        rows = read_rows(lines, format, name, column, undecodable, lines_ahead=0)
    for row in rows:
        if column not in row.fields:
            raise bad_row(name, row.line, f"has no {column!r}, only {', '.join(row.fields)}")
        others = {k: value for k, value in (row.values or row.fields).items() if k != column}
        yield Message(row, row.fields[column], others)


def _told(
    name: str, lines: Iterable[bytes], untold: str, whole: bool
) -> tuple[str, Iterable[bytes]]:
    """The format that an input's name or beginning tells, and its lines."""
    format = format_of(Path(name))
    if whole:
        data = b"".join(lines)
        return EML if format == EML or looks_like_mail(data) else LINES, [data]
    if format == LINES:
        lines = iter(lines)
        first = list(islice(lines, 1))
        return MBOX if first and begins_an_mbox(first[0]) else untold, chain(first, lines)
    return format, lines
