"""What was tried and what went wrong, in tables; the page that they are kept in."""

import re
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from spamgpt.markdown import Markdown, as_markdown, table
from spamgpt.printable import printable

TRIED = "tried"
LOST, TRACEBACKS, UNANSWERED, HUNG = WRONG = ("lost", "tracebacks", "unanswered", "hung")


class Tally:
    """One part: a row for each kind of try, and how often each ended how."""

    def __init__(self, what: str, promise: str) -> None:
        """`what` heads the first column; `promise` is what the figures are to show."""
        self.what = what
        self.promise = promise
        self.rows: dict[str, Counter[str]] = {}
        # Sentences below the table.
        self.notes: list[str] = []

    def tried(self, row: str, times: int = 1) -> None:
        """Counts a try."""
        self.rows.setdefault(row, Counter())[TRIED] += times

    def wrong(self, row: str, column: str, told: str) -> None:
        """Counts what went wrong, and tells it on standard error."""
        self.rows.setdefault(row, Counter())[column] += 1
        print(f"{row}: {column}: {printable(told)}", file=sys.stderr, flush=True)

    def add(self, row: str, counts: Mapping[str, int]) -> None:
        """Takes over what another process counted."""
        self.rows.setdefault(row, Counter()).update(counts)

    @property
    def total(self) -> Counter[str]:
        """All rows together."""
        return sum(self.rows.values(), Counter())

    @property
    def went_wrong(self) -> int:
        """How often anything did."""
        return sum(self.total[column] for column in WRONG)

    def to_markdown(self) -> str:
        """The promise, the table and the notes."""
        rows = (
            dict(self.rows)
            if len(self.rows) == 1
            else self.rows | {Markdown("**all**"): self.total}
        )
        columns = (TRIED, *WRONG)
        cells = [
            [name, *(f"{counts[each]:,}" for each in columns)] for name, counts in rows.items()
        ]
        return "\n\n".join([self.promise, table([self.what, *columns], cells), *self.notes])


def write_page(path: Path, sections: Mapping[str, str], introduction: str) -> None:
    """Writes a page of sections by their titles; those of an earlier run that are not new stay."""
    kept: dict[str, str] = {}
    if path.exists():
        parts = re.split(r"^## (.+)\n", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
        kept = dict(zip(parts[1::2], map(str.strip, parts[2::2]), strict=True))
    kept |= sections
    text = "".join(f"\n## {as_markdown(title)}\n{body}\n" for title, body in kept.items())
    path.write_text(f"{introduction.strip()}\n{text}", encoding="utf-8")
