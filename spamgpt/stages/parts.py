"""The files that hold the answers of a large input, one for each chunk, and which of them exist.

They are named after the messages they answer: `part-00003-000000010000-000000020000.parquet` those
from 10,000 to 19,999 of the fourth file; `-last` marks the last of a file, `-broken` one after
which it could not be read. So their names sort in the order of the input, a chunk that is scored
twice gives the same file, and a listing tells what is missing.
"""

import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Self

from spamgpt.classifier.records import renamed
from spamgpt.data.chunks import Chunk
from spamgpt.data.json_values import json_text
from spamgpt.stages.predict import Answer, Refusal, answer_line

if TYPE_CHECKING:
    from pyarrow import Table

PartFormat = Literal["jsonl", "parquet"]

_NAME = re.compile(r"part-(\d{5,})-(\d{12})-(\d{12})(-last|-broken)?\.(?:jsonl|parquet)")


def part_name(file: int, chunk: Chunk, format: PartFormat) -> str:
    """The name of the file with the answers to a chunk of an input file, given by its number."""
    ending = f"-{chunk.ending}" if chunk.ending else ""
    return f"part-{file:05}-{chunk.begin:012}-{chunk.end:012}{ending}.{format}"


def is_broken(name: str) -> bool:
    """Whether a file of answers ends where its input could not be read: that is tried again."""
    match = _NAME.fullmatch(name)
    return match is not None and match[4] == "-broken"


@dataclass
class Done:
    """What of one input file is answered: the chunks by their beginnings, with their ends."""

    chunks: dict[int, int] = field(default_factory=dict)
    has_last: bool = False

    @property
    def complete(self) -> bool:
        """Whether no message is missing."""
        at = 0
        for begin in sorted(self.chunks):
            if begin != at:
                return False
            at = self.chunks[begin]
        return self.has_last

    @property
    def messages(self) -> int:
        """How many messages are answered."""
        return sum(end - begin for begin, end in self.chunks.items())

    @classmethod
    def from_names(cls, names: Iterable[str]) -> dict[int, Self]:
        """What is answered of each file by its number, as the names of the parts tell."""
        found: dict[int, Self] = {}
        for match in filter(None, map(_NAME.fullmatch, names)):
            done = found.setdefault(int(match[1]), cls())
            done.chunks[int(match[2])] = int(match[3])
            done.has_last |= match[4] == "-last"
        return found


def jsonl_part(answers: Sequence[Answer | Refusal]) -> bytes:
    """Answers as `predict --format jsonl` writes them."""
    return b"".join(answer_line(answer).encode("utf-8", "replace") + b"\n" for answer in answers)


def parquet_part(
    answers: Sequence[Answer | Refusal],
    labels: Sequence[str],
    columns: Sequence[str],
    rows: "Table | None",
) -> bytes:
    """Answers as a Parquet file, a row each, with the columns that JSONL has as fields.

    The other columns of the messages are those of `rows`, in their types, which what cannot be read
    may have fewer of; without them, those named by `columns`, as strings.
    """
    import pyarrow
    from pyarrow import parquet

    own = _own_columns(answers, labels)
    if rows is None:
        others = _as_strings(answers, columns)
    else:
        others = rows.rename_columns(list(renamed(dict.fromkeys(rows.schema.names))))
    missing = len(answers) - len(others)
    if missing and others.num_columns:
        nothing = [pyarrow.nulls(missing, field.type) for field in others.schema]
        others = pyarrow.concat_tables([others, pyarrow.table(nothing, others.schema.names)])
    for name in others.schema.names:
        own = own.append_column(name, others[name])
    written = io.BytesIO()
    parquet.write_table(own, written, compression="zstd")
    return written.getvalue()


def _own_columns(answers: Sequence[Answer | Refusal], labels: Sequence[str]) -> "Table":
    import pyarrow

    records = [{**answer.to_dict(), "text": _text(answer)} for answer in answers]
    types = {
        "label": "string",
        "probability": "float64",
        "text": "string",
        **dict.fromkeys(("windows", "windows_left_out", "bytes_left_out"), "int64"),
        "error": "string",
    }
    # What a record has no field for is null.
    columns = {
        name: pyarrow.array([record.get(name) for record in records], type)
        for name, type in types.items()
    }
    of_labels: list[Any] = [record.get("probabilities") for record in records]
    probabilities = pyarrow.StructArray.from_arrays(
        [
            pyarrow.array([each[label] if each else None for each in of_labels], "float64")
            for label in labels
        ],
        list(labels),
        mask=pyarrow.array([each is None for each in of_labels], "bool"),
    )
    table = pyarrow.table(columns)
    return table.add_column(2, "probabilities", probabilities)


def _as_strings(answers: Sequence[Answer | Refusal], columns: Sequence[str]) -> "Table":
    import pyarrow

    def cell(answer: Answer | Refusal, name: str) -> str | None:
        value = answer.others.get(name) if isinstance(answer, Answer) else None
        if value is None or isinstance(value, str):
            return value and _encodable(value)
        return json_text(value)

    cells = [pyarrow.array([cell(each, name) for each in answers], "string") for name in columns]
    return pyarrow.table(cells, list(columns))


def _text(answer: Answer | Refusal) -> str:
    return _encodable(answer.prediction.text if isinstance(answer, Answer) else answer.text)


def _encodable(text: str) -> str:
    """A text without halves of surrogate pairs, which JSON can spell and UTF-8 cannot."""
    return text.encode("utf-8", "replace").decode()
