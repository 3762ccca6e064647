"""Long inputs in chunks of messages, whose borders follow from the input alone.

Whoever reads a file again gets the same chunks, so that what was done with one need not be done
again.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from spamgpt.data.binary import batch_lines, is_parquet, parquet_batches
from spamgpt.data.inputs import Message
from spamgpt.data.stores import lines_at, opened

if TYPE_CHECKING:
    from pyarrow import RecordBatch, Schema, Table

Ending = Literal["", "last", "broken"]

# A chunk ends with whichever it has first.
MESSAGES_PER_CHUNK = 10_000
BYTES_PER_CHUNK = 32 * 1024 * 1024


@dataclass(frozen=True)
class Chunk:
    """Messages of a file in order, the first being number `begin` of the file, from 0.

    `ending` is "last" where the file has no more, and "broken" where more of it could not be read,
    which the error of the last message tells. `rows` are the messages with all their columns, as a
    Parquet file has them.
    """

    begin: int
    messages: list[Message]
    ending: Ending = ""
    rows: "Table | None" = None

    @property
    def end(self) -> int:
        """The number of the message after the last."""
        return self.begin + len(self.messages)


def chunks_of(
    address: str,
    read: Callable[[Iterable[bytes]], Iterable[Message]],
    most: int = MESSAGES_PER_CHUNK,
    with_rows: bool = False,
) -> Iterator[Chunk]:
    """The chunks of a file, at least one, given what reads messages from its lines.

    A chunk has at most so many messages, and fewer if they are long. With `with_rows`, those of a
    Parquet file have its rows. Raises as `read` and `lines_at`.
    """
    if not with_rows or not is_parquet(address):
        yield from _cut(read(lines_at(address)), most)
        return
    with opened(address) as file:
        rows = _Rows(parquet_batches(file, address), address)
        for chunk in _cut(read(rows), most):
            yield replace(chunk, rows=rows.take(len(chunk.messages)))


def _cut(messages: Iterable[Message], most: int) -> Iterator[Chunk]:
    begin = size = 0
    held: list[Message] = []
    for message in messages:
        if len(held) == most or size >= BYTES_PER_CHUNK:
            yield Chunk(begin, held)
            begin += len(held)
            held, size = [], 0
        held.append(message)
        size += message.size
    # An input that cannot be read further ends with an error that is of no line.
    broken = bool(held) and held[-1].row.line == 0
    yield Chunk(begin, held, "broken" if broken else "last")


class _Rows:
    """The lines of a Parquet file, which keep the rows that they were made of until they are taken.

    Each line is one message, unless the file ends with an error in place of the rest.
    """

    def __init__(self, batches: "Iterable[RecordBatch]", source: str) -> None:
        self._batches = batches
        self._source = source
        self._schema: Schema | None = None
        self._kept: list[RecordBatch] = []

    def __iter__(self) -> Iterator[bytes]:
        for batch in self._batches:
            self._schema = batch.schema
            lines = batch_lines(batch, self._source)
            self._kept.append(batch)
            yield from lines

    def take(self, count: int) -> "Table | None":
        """The first `count` rows; fewer if there are no more. None if the columns are unknown."""
        import pyarrow

        if self._schema is None:
            return None
        table = pyarrow.Table.from_batches(self._kept, self._schema)
        self._kept = table[count:].to_batches()
        return table[:count]
