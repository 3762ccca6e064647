"""Tables in binary files, Parquet and Excel, as the JSON lines that all readers of rows take."""

import json
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from spamgpt.addresses import without_query
from spamgpt.errors import BadDataError
from spamgpt.extras import require

if TYPE_CHECKING:
    from pyarrow import RecordBatch

# A spreadsheet is read as a whole. One that unpacks to more is taken for an attack ("zip bomb").
LARGEST_SPREADSHEET = 500_000_000
# What an encrypted workbook and one of Excel before 2007 (.xls) begin with.
_COMPOUND_FILE = b"\xd0\xcf\x11\xe0"
_ROWS_AT_ONCE = 1000
# What is read of a column of a Parquet file at once, in bytes.
_BUFFER = 1 << 20


def json_line(row: Mapping[str, object]) -> bytes:
    """A row as a line of JSON.

    Bytes are taken for text, UTF-8 or not, and what JSON does not know (dates) becomes a string.
    """
    text = json.dumps(row, ensure_ascii=False, default=_as_text)
    return text.encode("utf-8", "surrogateescape") + b"\n"


def _as_text(value: object) -> str:
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)


def is_parquet(name: str) -> bool:
    """Whether the name or the address of a file says that it is Parquet."""
    return Path(without_query(name)).suffix.lower() == ".parquet"


def parquet_lines(file: Path | BinaryIO, source: str) -> Iterator[bytes]:
    """The rows of a Parquet file as JSON lines. Raises as `parquet_batches`."""
    for batch in parquet_batches(file, source):
        yield from batch_lines(batch, source)


def batch_lines(batch: "RecordBatch", source: str) -> list[bytes]:
    """The rows of a batch as JSON lines. Raises BadDataError for text that is not UTF-8."""
    try:
        rows = batch.to_pylist()
    except UnicodeDecodeError as error:
        raise BadDataError(
            f"{source} holds text that is not UTF-8 ({error.reason}).", "Write it as UTF-8."
        ) from error
    except (ValueError, OverflowError) as error:  # such as a date of the year 10000
        raise _unreadable(source, "Parquet", error) from error
    return [json_line(row) for row in rows]


def parquet_batches(file: Path | BinaryIO, source: str) -> "Iterator[RecordBatch]":
    """The rows of a Parquet file in batches, so that memory does not grow with it.

    The first has no rows: it tells the columns, also of a file that has none. Raises BadDataError
    for a damaged file, MissingInputError without the library `pyarrow`.
    """
    require("parquet", "pyarrow")
    import pyarrow
    import pyarrow.parquet

    try:
        # Without a buffer of its size, all of a row group is loaded: often all of the file.
        with pyarrow.parquet.ParquetFile(file, buffer_size=_BUFFER, pre_buffer=False) as table:
            names = table.schema_arrow.names
            if len(set(names)) < len(names):
                raise BadDataError(f"{source} names a column twice.", "Rename one of them.")
            yield pyarrow.RecordBatch.from_pylist([], table.schema_arrow)
            yield from table.iter_batches(_ROWS_AT_ONCE)
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise _unreadable(source, "Parquet", error) from error


def excel_lines(path: Path, source: str) -> Iterator[bytes]:
    """The rows of a workbook's first sheet as JSON lines; the cells are strings, none is missing.

    The first row holds the names of the columns. It and empty rows come as empty lines, so that
    lines are numbered as Excel numbers rows. Raises BadDataError for what is no workbook (.xlsx) or
    is encrypted, MissingInputError without the library `openpyxl`.
    """
    require("excel", "openpyxl")
    import pandas as pd

    _check_workbook(path, source)
    try:
        with warnings.catch_warnings():
            # Of styles, printer settings and the like that openpyxl does not know.
            warnings.simplefilter("ignore")
            cells = pd.read_excel(
                path, header=None, dtype=str, keep_default_na=False, engine="openpyxl"
            )
    # What is wrong within a workbook comes as nearly any exception of the XML and zip libraries.
    except Exception as error:
        raise _unreadable(source, "an Excel workbook", error) from error
    names: list[str] | None = None
    for row in cells.itertuples(index=False, name=None):
        if not any(row):
            yield b"\n"
        elif names is None:
            names = [str(name) for name in row]
            if len(set(filter(None, names))) < len([name for name in names if name]):
                raise BadDataError(f"{source} names a column twice.", "Rename one of them.")
            yield b"\n"
        else:
            yield json_line({name: cell for name, cell in zip(names, row, strict=True) if name})


def _check_workbook(path: Path, source: str) -> None:
    with path.open("rb") as file:
        if file.read(4) == _COMPOUND_FILE:
            raise BadDataError(
                f"{source} is encrypted or in the format of Excel before 2007.",
                "Save it as .xlsx without a password.",
            )
    try:
        with zipfile.ZipFile(path) as workbook:
            unpacked = sum(part.file_size for part in workbook.infolist())
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise _unreadable(source, "an Excel workbook", error) from error
    if unpacked > LARGEST_SPREADSHEET:
        raise BadDataError(
            f"{source} would unpack to {unpacked:,} bytes, more than the "
            f"{LARGEST_SPREADSHEET:,} allowed.",
            "Save it as CSV.",
        )


def _unreadable(source: str, kind: str, error: Exception) -> BadDataError:
    reason = str(error).partition("\n")[0].rstrip(".") or type(error).__name__
    return BadDataError(
        f"{source} cannot be read as {kind}: {reason}.",
        "It is another kind of file, damaged or incomplete.",
    )


# The readers by the ending of a file's name; `rows.format_of` calls all of them JSONL.
READERS: Mapping[str, Callable[[Path, str], Iterator[bytes]]] = {
    ".parquet": parquet_lines,
    ".xlsx": excel_lines,
}
