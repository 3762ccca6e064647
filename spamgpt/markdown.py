"""Text as Markdown shows it, and tables of it."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from spamgpt.printable import printable

# An underscore inside a word is an underscore, and only what looks like an entity is one.
_MARKUP = re.compile(r"[\\`*{}\[\]<>|#~]|&(?=#?\w+;)|(?<![^\W_])_|_(?![^\W_])")


class Markdown(str):
    """Text that is Markdown already, such as a table."""

    __slots__ = ()


def as_markdown(value: Any) -> Any:
    """Text as Markdown shows it: no markup, no HTML, one line, control characters spelled out."""
    if not isinstance(value, str) or isinstance(value, Markdown):
        return value
    return _MARKUP.sub(r"\\\g<0>", printable(value))


def table(head: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> Markdown:
    """A table; all columns but the first `left` are aligned to the right, as numbers are."""
    ruler = ["---"] * left + ["---:"] * (len(head) - left)
    cells = [[as_markdown(cell) for cell in row] for row in (head, *rows)]
    lines = [f"| {' | '.join(row)} |" for row in cells]
    return Markdown("\n".join([lines[0], f"|{'|'.join(ruler)}|", *lines[1:]]))
