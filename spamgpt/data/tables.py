"""Whole tables of messages: labelled files into data frames, and the CSV files of artifacts."""

import csv
from pathlib import Path

import pandas as pd

from spamgpt.data.rows import CSV, LABEL, LINES, TEXT, TSV, bad_row, format_of, read_rows
from spamgpt.errors import BadDataError


def read_labelled_file(path: Path, source: str | None = None) -> pd.DataFrame:
    """A table of strings from a CSV, TSV or JSONL file, or from the raw `SMSSpamCollection`.

    All columns of the file are kept, the index holds the line of each row, and what a row of JSONL
    lacks is empty, only a label or a text must not be missing. Raises BadDataError
    naming the file, the line and the reason; `source` is the name used there, by default the path.
    """
    format = format_of(path.name)
    return _read(path, TSV if format == LINES else format, source or str(path))


def read_table(path: Path) -> pd.DataFrame:
    """A table that `write_table` wrote; every cell is the string that was written."""
    return _read(path, CSV, str(path))


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Writes UTF-8 CSV in which every text survives byte for byte: quotes, line ends, `NA`, ""."""
    # Strings are always quoted: a lone carriage return would otherwise end the row.
    table.to_csv(path, index=False, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")


def _read(path: Path, format: str, source: str) -> pd.DataFrame:
    records: list[dict[str, str]] = []
    line_numbers: list[int] = []
    with path.open("rb") as lines:
        for row in read_rows(lines, format, source):
            for column in (LABEL, TEXT):
                if records and column in records[0] and column not in row.fields:
                    raise bad_row(source, row.line, f"has no {column!r}, as the first row has")
            surrogate = next((n for n, text in row.fields.items() if not _is_text(text)), None)
            if surrogate is not None:
                raise bad_row(source, row.line, f"has half a surrogate pair in {surrogate!r}")
            records.append(row.fields)
            line_numbers.append(row.line)
    if not records:
        raise BadDataError(f"{source} holds no messages.", "Give a file with labelled messages.")
    return pd.DataFrame(records, index=line_numbers, dtype="str").fillna("")


def require_labels(table: pd.DataFrame, column: str, source: str) -> None:
    """Raises BadDataError for the first row whose label is empty."""
    for line, label in table[column].items():
        if not label.strip():
            raise bad_row(source, int(str(line)), f"has no {column}")


def _is_text(text: str) -> bool:
    # JSON can spell code points ("\ud800") that no UTF-8 file can hold.
    return not any("\ud800" <= character <= "\udfff" for character in text)
