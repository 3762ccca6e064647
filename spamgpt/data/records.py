"""Records of bounded size: of a longer one only its beginning and its end are held in memory.

A record is whatever is read as one: a line, a row of CSV over several lines, a mail.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from tempfile import SpooledTemporaryFile
from typing import IO, Literal, Self

# What becomes of a message beyond the limit: judged by its beginning and its end, or an error.
Oversized = Literal["cut", "error"]

# A longer line is read in pieces of so many bytes.
_PIECE = 1 << 16
# Of what is left out of a record but passed on, so many bytes stay in memory and not on disk.
_MIDDLE_IN_MEMORY = 1 << 20
_NOT_UTF_8 = "\ufffd"


class Excerpt(bytes):
    """The beginning, `begin` bytes, and the end of a record that is longer than the limit.

    `length` is what the whole record has, in bytes. `middle` is what stands between the two, where
    the record is to be passed on.
    """

    begin: int
    length: int
    middle: IO[bytes] | None = None

    @classmethod
    def of(cls, begin: bytes, end: bytes, length: int, middle: IO[bytes] | None = None) -> Self:
        """The excerpt with this beginning and end."""
        excerpt = cls(begin + end)
        excerpt.begin, excerpt.length, excerpt.middle = len(begin), length, middle
        return excerpt

    @property
    def parts(self) -> tuple[bytes, bytes]:
        """The beginning and the end."""
        return self[: self.begin], self[self.begin :]

    def text(self) -> str:
        """Both as text, on lines of their own; a character that was cut in two is left out."""
        begin, end = (part.decode("utf-8", "replace") for part in self.parts)
        return f"{begin.rstrip(_NOT_UTF_8)}\n{end.lstrip(_NOT_UTF_8)}"


class _Middle(SpooledTemporaryFile[bytes]):
    """Closed with whatever held it, also with a record whose source broke off."""

    def __del__(self) -> None:
        self.close()


def left_out(raw: bytes) -> int:
    """How many bytes of a record are not held: 0 unless it is an excerpt."""
    return raw.length - len(raw) if isinstance(raw, Excerpt) else 0


def write_whole(raw: bytes, write: Callable[[bytes], object]) -> None:
    """Writes a record, also what an excerpt of it leaves out."""
    if not isinstance(raw, Excerpt):
        write(raw)
        return
    begin, end = raw.parts
    write(begin)
    if raw.middle is not None:
        raw.middle.seek(0)
        while part := raw.middle.read(_PIECE):
            write(part)
    write(end)


class Record:
    """Gathers the pieces of one record after another, and holds at most `limit` bytes of each.

    `limit` None holds all. With `whole` what is left out in the middle is kept in a temporary file.
    """

    def __init__(self, limit: int | None = None, whole: bool = False) -> None:
        self.limit = limit
        self._whole = whole
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._begin: list[bytes] = []
        self._end: deque[bytes] = deque()
        self._begin_size = self._end_size = self.length = 0
        self._middle: IO[bytes] | None = None

    def add(self, piece: bytes) -> None:
        """Adds a piece; a limit leaves out whole pieces, so that lines of base64 stay whole."""
        size = len(piece)
        self.length += size
        if self.limit is None or (not self._end and 2 * (self._begin_size + size) <= self.limit):
            self._begin.append(piece)
            self._begin_size += size
            return
        self._end.append(piece)
        self._end_size += size
        while self._begin_size + self._end_size > self.limit:
            self._leave_out(self._end.popleft())

    def _leave_out(self, piece: bytes) -> None:
        self._end_size -= len(piece)
        if self._whole:
            if self._middle is None:
                self._middle = _Middle(_MIDDLE_IN_MEMORY)
            self._middle.write(piece)

    def take(self, without: bytes = b"") -> bytes:
        """The record, an `Excerpt` if it was too long, and begins the next one.

        `without` is what it does not end with, such as its line end.
        """
        begin, end, length = b"".join(self._begin), b"".join(self._end), self.length
        cut, middle = length > len(begin) + len(end), self._middle
        self._begin_anew()
        if not cut:
            return (begin + end).removesuffix(without)
        return Excerpt.of(begin, end.removesuffix(without), length, middle)


def pieces(lines: Iterable[bytes], limit: int | None = None) -> Iterator[bytes]:
    """The lines of a binary file or of an iterable, long ones in several pieces.

    None is longer than a quarter of `limit`, the most bytes of a record that are held.
    """
    size = _PIECE if limit is None else max(1, min(_PIECE, limit // 4))
    readline = getattr(lines, "readline", None)
    if readline is not None:
        yield from iter(partial(readline, size), b"")
        return
    for line in lines:
        if len(line) <= size:
            yield line
        else:
            yield from (line[start : start + size] for start in range(0, len(line), size))
