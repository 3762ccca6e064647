"""Whole tables of messages: labelled files into data frames, and the CSV files of artifacts."""

import csv
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pandas as pd

from spamgpt.data.encodings import in_utf8
from spamgpt.data.files import lines_of
from spamgpt.data.rows import (
    CSV,
    LABEL,
    LINES,
    SOURCE,
    TEXT,
    TSV,
    bad_row,
    format_of,
    missing_field,
    read_rows,
)
from spamgpt.errors import BadDataError


def read_labelled_file(
    path: Path, source: str | None = None, encoding: str | None = None
) -> pd.DataFrame:
    """A table of strings from a CSV, TSV, JSONL, Parquet or Excel file, or the SMSSpamCollection.

    All columns of the file are kept, the index holds the line of each row, and what a row of JSONL
    lacks is empty, only a label or a text must not be missing. `encoding` None is UTF-8, or what a
    byte order mark says. Raises BadDataError naming the file, the line and the reason; `source` is
    the name used there, by default the path.
    """
    format = format_of(path.name)
    return _read(path, TSV if format == LINES else format, source or str(path), encoding)


def require_columns(table: pd.DataFrame, source: str) -> None:
    """Raises BadDataError for a table in which no column can hold labels beside the texts."""
    if len(table.columns) > 1:
        return
    (only,) = table.columns
    separator = next((each for each in ";\t|" if each in only), None)
    if separator:
        raise BadDataError(
            f"{source} is separated by {separator!r}, not by commas: {only[:60]!r} is one column.",
            "Save it with commas, or with tabs as a .tsv file.",
        )
    raise BadDataError(
        f"{source} has one column, {only[:60]!r}: there are no labels.",
        f"Give a file with the columns {LABEL!r} and {TEXT!r}.",
    )


def read_table(path: Path) -> pd.DataFrame:
    """A table that `write_table` wrote; every cell is the string that was written."""
    return _read(path, CSV, str(path))


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Writes UTF-8 CSV in which every text survives byte for byte: quotes, line ends, `NA`, ""."""
    # Strings are always quoted: a lone carriage return would otherwise end the row.
    table.to_csv(path, index=False, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")


def join_tables(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """One table of several by name; the column `source` says which one a message came from.

    What a table calls the source of its messages follows its name: `mine/inbox`. A cell that a
    table has no column for is empty. Raises BadDataError for one without labels or texts.
    """
    parts = []
    for name, table in tables.items():
        for column in (LABEL, TEXT):
            if column not in table:
                raise BadDataError(
                    missing_column(table, column, name),
                    f"Data sets that are joined need the columns {LABEL!r} and {TEXT!r}.",
                )
        sources = [
            f"{name}/{own}" if own else name
            for own in (table[SOURCE] if SOURCE in table else [""] * len(table))
        ]
        parts.append(table.assign(**{SOURCE: pd.Series(sources, table.index, dtype="str")}))
    joined = pd.concat(parts, ignore_index=True).fillna("")
    first = [LABEL, TEXT, SOURCE]
    return joined[[*first, *(column for column in joined if column not in first)]]


def _read(path: Path, format: str, source: str, encoding: str | None = None) -> pd.DataFrame:
    records: list[dict[str, str]] = []
    line_numbers: list[int] = []
    with closing(lines_of(path, source)) as lines:
        for row in read_rows(in_utf8(lines, source, encoding), format, source):
            for column in (LABEL, TEXT):
                lacks = records and column in records[0] and column not in row.fields
                if lacks or (column in row.values and column not in row.fields):
                    raise missing_field(source, row, column)
            surrogate = next((n for n, text in row.fields.items() if not _is_text(text)), None)
            if surrogate is not None:
                raise bad_row(source, row.line, f"has half a surrogate pair in {surrogate!r}")
            records.append(row.fields)
            line_numbers.append(row.line)
    if not records:
        raise BadDataError(f"{source} holds no messages.", "Give a file with labelled messages.")
    return pd.DataFrame(records, index=line_numbers, dtype="str").fillna("")


def _is_text(text: str) -> bool:
    # JSON can spell code points ("\ud800") that no UTF-8 file can hold.
    return not any("\ud800" <= character <= "\udfff" for character in text)


def missing_column(table: pd.DataFrame, column: str, name: str) -> str:
    """What is wrong with a table without a column, as the message of an error."""
    return f"{name} has no column {column!r}; it has {', '.join(map(repr, table.columns))}."
