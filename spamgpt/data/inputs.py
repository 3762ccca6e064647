"""The messages of files and streams in any format, told apart by name or by their beginning."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path

from spamgpt.data.encodings import in_utf8
from spamgpt.data.files import format_of
from spamgpt.data.mail import (
    MAIL_FORMATS,
    MBOX,
    begins_an_mbox,
    fields_of,
    looks_like_mail,
    read_mails,
)
from spamgpt.data.records import Excerpt, Oversized, Record, left_out, pieces
from spamgpt.data.rows import LINES, TEXT, Row, missing_field, not_utf_8, read_rows
from spamgpt.errors import BadDataError

AUTO = "auto"


@dataclass(frozen=True)
class Message:
    """A row, its text, and its other fields as the input has them.

    Of a row with an error the text is what stands there.
    """

    row: Row
    text: str
    others: Mapping[str, object]

    @property
    def size(self) -> int:
        """The bytes that it holds, roughly."""
        return len(self.row.raw) + len(self.text)


@dataclass(frozen=True)
class Limits:
    """What is done with messages that are too long or cannot be read.

    A message beyond `message_size` bytes (None: no limit) is `oversized`. With `whole` its middle
    is kept on the disk, to be passed on. Unless `strict`, what cannot be read is a row with an
    error.
    """

    message_size: int | None = None
    oversized: Oversized = "cut"
    whole: bool = False
    strict: bool = True


UNLIMITED = Limits()


def read_messages(
    name: str,
    lines: Iterable[bytes],
    format: str = AUTO,
    text_column: str = TEXT,
    untold: str = LINES,
    whole: bool = False,
    undecodable: str = "replace",
    encoding: str | None = None,
    limits: Limits = UNLIMITED,
) -> Iterator[Message]:
    """The messages of one input, given by its name and its lines (a binary file).

    `format` is lines, tsv, csv, jsonl, eml, mbox, or auto: told by the name. What tells none is an
    mbox if it begins like one, else `untold`. With `whole` the input is one message, a mail or a
    text. `text_column` is the field of a table that holds the message. Outside of mails, which name
    their charset, `encoding` is that of the text (None: what a byte order mark says, else UTF-8).
    What is not in it is read with replacement characters or, if `undecodable` is "strict", is an
    error. Raises BadDataError naming the input and the line, or UsageError for an unknown encoding.
    """
    record = Record(limits.message_size, limits.whole)
    auto = format == AUTO
    if auto:
        format = format_of(Path(name))
    if format not in MAIL_FORMATS:
        lines = in_utf8(lines, name, encoding, record.limit, undecodable)
    if auto and format == LINES and not whole:
        lines = iter(lines)
        first = list(islice(lines, 1))
        lines = chain(first, lines)
        format = MBOX if first and begins_an_mbox(first[0]) else untold
    column = TEXT if format in (LINES, *MAIL_FORMATS) else text_column
    if format in MAIL_FORMATS:
        rows = read_mails(lines, format, name, record)
    elif whole:
        rows = _whole(lines, name, auto, undecodable, record)
    else:
        rows = read_rows(
            lines, format, name, column, undecodable, 0, strict=limits.strict, record=record
        )
    for row in rows:
        yield _message(row, name, column, limits)


def _whole(
    lines: Iterable[bytes], name: str, auto: bool, undecodable: str, record: Record
) -> Iterator[Row]:
    """All of an input as one message: a mail if it is `auto` and looks like one, else a text."""
    for piece in pieces(lines, record.limit):
        record.add(piece)
    data = record.take()
    if auto and looks_like_mail(data):
        yield Row(1, data, {"file": name, **fields_of(data)}, end=b"")
        return
    try:
        text = data.text() if isinstance(data, Excerpt) else data.decode("utf-8", undecodable)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise not_utf_8(name, line, data, error) from error
    yield Row(1, data, {TEXT: text.removeprefix("\ufeff").strip("\r\n")}, end=b"")


def _message(row: Row, name: str, column: str, limits: Limits) -> Message:
    error = row.error
    if error is None and limits.oversized == "error" and left_out(row.raw):
        error = BadDataError(
            f"{name}, line {row.line}: is longer than {limits.message_size:,} bytes.",
            "Raise the limit: `max_message_size=MIB`, or have its beginning and end judged: "
            "`oversized=cut`",
        )
    elif error is None and column not in row.fields:
        error = missing_field(name, row, column)
    if error is None:
        others = {k: value for k, value in (row.values or row.fields).items() if k != column}
        return Message(row, row.fields[column], others)
    if limits.strict:
        raise error
    text = row.raw.text() if isinstance(row.raw, Excerpt) else row.raw.decode("utf-8", "replace")
    return Message(replace(row, error=error), text, {})
