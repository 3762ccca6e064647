"""Text that is not UTF-8: read as what is named or as its byte order mark says, else guessed."""

import codecs
import io
from collections.abc import Iterable, Iterator
from itertools import chain

from spamgpt.data.records import pieces
from spamgpt.errors import BadDataError, UsageError

# UTF-32 first: its mark begins like that of UTF-16.
_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
# How much is read at once of what is not UTF-8.
_CHUNK = 1 << 13


def check_encoding(name: str) -> None:
    """Raises UsageError if there is no such text encoding."""
    try:
        "".encode(name)
    except (LookupError, ValueError) as error:
        raise UsageError(
            f"There is no encoding {name!r}.", "Such as utf-8, utf-16, cp1252 or latin-1."
        ) from error


def in_utf8(
    lines: Iterable[bytes],
    source: str,
    encoding: str | None,
    limit: int | None = None,
    undecodable: str = "strict",
) -> Iterator[bytes]:
    """The pieces of lines (`records.pieces`) as UTF-8.

    `encoding` None is what a byte order mark at the beginning says, else UTF-8. `undecodable` is
    the `errors` argument of `bytes.decode`. Raises UsageError for an unknown encoding, and
    BadDataError naming the source for what is not in it, but not for UTF-8, which is left as it is.
    """
    if encoding is not None:
        check_encoding(encoding)
    first = b""
    if encoding is None:
        come = pieces(lines, limit)
        first = next(come, b"")
        encoding = next((name for mark, name in _MARKS.items() if first.startswith(mark)), None)
        if encoding is None:
            return chain([first], come) if first else come
    if codecs.lookup(encoding).name == "utf-8":
        return pieces(lines, limit)
    return pieces(_transcoded(lines, source, first, encoding, undecodable), limit)


def _transcoded(
    lines: Iterable[bytes], source: str, first: bytes, encoding: str, undecodable: str
) -> Iterator[bytes]:
    # By chunks and not by lines: a line of UTF-16 does not end with the byte of its line end.
    read = getattr(lines, "read1", None)
    chunks = iter(lambda: read(_CHUNK), b"") if read else iter(lines)
    decoder = codecs.getincrementaldecoder(encoding)(undecodable)
    try:
        for chunk in chain([first] if first else [], chunks):
            # Its lines; the last one has no line end if the chunk has none there.
            yield from io.BytesIO(decoder.decode(chunk).encode("utf-8", "replace"))
        yield decoder.decode(b"", True).encode("utf-8", "replace")
    except UnicodeError as error:  # also where UTF-16 needs a byte order mark and has none
        reason = getattr(error, "reason", error)
        raise BadDataError(
            f"{source} is not {encoding} ({reason}).", "Name another `encoding`."
        ) from error


def guessed_encoding(data: bytes) -> str | None:
    """The likely encoding of text that was read as UTF-8 but is not; None if it is UTF-8."""
    zeros = data.count(0)
    if zeros and 3 * zeros >= len(data):
        return "utf-16-be" if data[::2].count(0) > zeros // 2 else "utf-16-le"
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return "cp1252"
    return None


def without_surrogates(text: str) -> str:
    """The text with half surrogate pairs replaced: JSON and broken mails have them, UTF-8 has not.

    Pairs that are whole become their character.
    """
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
