"""Checks that every message has exactly one label."""

import ast
import json

import pandas as pd

from spamgpt.data.rows import LABEL, bad_row
from spamgpt.errors import BadDataError

_ONE_LABEL = "spamgpt learns one label per message (multi-class); multi-label data it cannot learn."
_YES_OR_NO = ({"0", "1"}, {"0.0", "1.0"}, {"true", "false"}, {"True", "False"})


def require_labels(table: pd.DataFrame, column: str, source: str) -> None:
    """Raises BadDataError for the first row whose label is empty or a list of labels.

    The index of the table holds the line of each row.
    """
    for line, label in table[column].items():
        if not label.strip():
            raise bad_row(source, int(str(line)), f"has no {column}")
        if _is_list(label):
            raise BadDataError(
                f"{source}, line {line}: the label is a list, {label[:60]}. {_ONE_LABEL}",
                "Keep one label of each row, or make one column for each label, 1 or 0, and choose "
                "one of them when you prepare the data: `label_column=NAME`",
            )


def require_two_labels(table: pd.DataFrame, source: str) -> None:
    """Raises BadDataError if all messages have the same label."""
    if table[LABEL].nunique() < 2:
        raise BadDataError(
            f"{source} has only the label {table[LABEL].iloc[0]!r}.",
            "A classifier needs messages of at least two labels.",
        )


def _is_list(label: str) -> bool:
    """Whether a label is a list as JSON or as Python writes it."""
    if not label.startswith("[") or not label.endswith("]"):
        return False
    for read in (json.loads, ast.literal_eval):
        try:
            if isinstance(read(label), list):
                return True
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    return False


def refuse_label_columns(table: pd.DataFrame, source: str) -> None:
    """Raises BadDataError if several columns say yes or no, as where every label has a column.

    For a table that has no column `label`.
    """
    found = [name for name in table.columns if any(set(table[name]) <= v for v in _YES_OR_NO)]
    if len(found) > 1:
        raise BadDataError(
            f"{source} has no column {LABEL!r} but several that say yes or no "
            f"({', '.join(found)}), so that a message may have several labels. {_ONE_LABEL}",
            f"Choose one of the columns when you prepare the data: `label_column={found[0]}`",
        )
