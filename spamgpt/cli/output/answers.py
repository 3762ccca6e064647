"""How `predict` writes its answers to standard output: as a table, TSV, CSV, JSONL, or as mails."""

import csv
import io
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from spamgpt.classifier.predictor import UNSURE
from spamgpt.cli.output.highlights import marked, top_words
from spamgpt.data.encodings import guessed_encoding
from spamgpt.data.json_values import json_text
from spamgpt.data.records import left_out, write_whole
from spamgpt.printable import counted, printable
from spamgpt.stages.predict import Answer, Answers, Refusal, answer_line

if TYPE_CHECKING:
    from spamgpt.classifier.explanation import Span

OutputFormat = Literal["auto", "text", "tsv", "jsonl", "csv", "parquet"]

# "unchanged": the messages as they came; "headed": mails with a header added; "none": nothing.
Shape = Literal["text", "tsv", "jsonl", "csv", "unchanged", "headed", "none"]

# The header that mail filters look for, as SpamAssassin writes it.
HEADER = "X-Spam-Status"


@dataclass
class Summary:
    """What was answered: messages of each label, the time, and what is worth a note.

    `long` messages were read in windows, of the `unread` ones of them not all; of the `cut` ones
    only the beginning and the end. `undecoded` ones are not UTF-8 but look like `encoding`.
    `left_out` are columns that CSV or TSV had no room for: the first message did not have them.
    """

    counts: Counter[str] = field(default_factory=Counter)
    long: int = 0
    unread: int = 0
    cut: int = 0
    undecoded: int = 0
    encoding: str | None = None
    seconds: float = 0.0
    left_out: list[str] = field(default_factory=list)

    def count(self, answer: Answer) -> None:
        """Counts an answer."""
        found, raw = answer.prediction, answer.row.raw
        self.counts[found.label] += 1
        self.long += found.windows > 1
        self.unread += found.windows_left_out > 0
        self.cut += left_out(raw) > 0
        # Rare, so that only these are looked at again. A mail names its charset.
        if ("\ufffd" in found.text or "\0" in found.text) and answer.row.end:
            guess = guessed_encoding(raw)
            self.undecoded += guess is not None
            self.encoding = self.encoding or guess

    def __str__(self) -> str:
        total = self.counts.total()
        labels = ", ".join(f"{count:,} {label}" for label, count in sorted(self.counts.items()))
        rate = f" ({total / self.seconds:,.0f} messages/s)" if total and self.seconds else ""
        return f"{counted(total, 'message')}{': ' * bool(labels)}{labels}{rate}"


def shape_of(format: OutputFormat, only: bool) -> Shape:
    """What is written for the option --format, with --only or without."""
    if format != "auto" and format != "parquet":  # which other engines write
        return format
    if only:
        return "unchanged"
    return "text" if sys.stdout is not None and sys.stdout.isatty() else "tsv"


def write_answers(
    answers: Answers,
    shape: Shape,
    only: str | None,
    summary: Summary,
    escape_formulas: bool = False,
) -> None:
    """Writes the answers, each batch at once, or those of the label `only`; fills the summary.

    With `escape_formulas`, no cell of a table can be taken for a formula by a spreadsheet.
    """
    table = _Table(shape, escape_formulas)
    write = _writer(answers, shape) or table.write
    begin = time.perf_counter()
    for batch in answers.batches:
        for answer in batch:
            if isinstance(answer, Answer):
                summary.count(answer)
            if only is None or (isinstance(answer, Answer) and answer.prediction.label == only):
                write(answer)
        sys.stdout.flush()
        summary.seconds = time.perf_counter() - begin
    if write == table.write:
        table.finish()
        sys.stdout.flush()
    summary.left_out = list(table.left_out)


def _writer(answers: Answers, shape: Shape) -> Callable[[Answer | Refusal], object] | None:
    """What writes one answer in a shape that is no table of columns."""
    if shape == "text":
        show = table_writer()

        def show_answer(answer: Answer | Refusal) -> None:
            if isinstance(answer, Refusal):
                show(ERROR, None, answer.text)
                return
            found = answer.prediction
            show(found.label, found.probability, found.text, found.explanation)

        return show_answer
    if shape == "jsonl":
        return lambda answer: sys.stdout.buffer.write(_json_line(answer))
    if shape == "unchanged":
        return _Unchanged().write
    if shape == "headed":

        def pass_on(answer: Answer | Refusal) -> None:
            write_whole(headed(answer, answers), _write)
            _write(answer.row.end)

        return pass_on
    if shape == "none":
        return lambda answer: None
    return None


def _write(data: bytes) -> None:
    """Writes bytes to standard output; to a terminal without what could steer it."""
    if sys.stdout.isatty():
        # Line ends and tabs are not messages' alone: they stand between lines and fields, too.
        lines = data.decode("utf-8", "replace").replace("\r\n", "\n").split("\n")
        data = "\n".join("\t".join(map(printable, line.split("\t"))) for line in lines).encode()
    sys.stdout.buffer.write(data)


def _json_line(answer: Answer | Refusal) -> bytes:
    text = answer_line(answer)
    if sys.stdout.isatty():
        text = printable(text)
    return text.encode("utf-8", "replace") + b"\n"


class _Unchanged:
    """Messages as they came; those of a table after the line that names its columns."""

    def __init__(self) -> None:
        self._header: bytes | None = None

    def write(self, answer: Answer | Refusal) -> None:
        row = answer.row
        if row.header is not None and row.header != self._header:
            self._header = row.header
            _write(row.header + b"\n")
        write_whole(row.raw, _write)
        _write(row.end)


class _Table:
    """CSV or TSV: label, probability, text, and then the other columns of the first message.

    With --explain, `explanation` comes after the text: the words that spoke most for the label.
    What could not be read has the label ERROR and no probability.
    """

    def __init__(self, shape: Shape, escape_formulas: bool) -> None:
        self._line_of = _csv_line if shape == "csv" else _tsv_line
        self._has_header = shape == "csv"
        self._escape_formulas = escape_formulas
        self._columns: list[str] | None = None
        self._after_text = 0  # how many columns there are after the text
        self._waiting: list[Refusal] = []  # for the columns
        self.left_out: dict[str, None] = {}

    def finish(self) -> None:
        """Writes what is written also where there was no message."""
        self._settle(None)

    def _settle(self, first: Answer | None) -> None:
        """Settles the columns, unless they are."""
        if self._columns is not None:
            return
        self._columns = list(first.others) if first else []
        explained = first is not None and first.prediction.explanation is not None
        row = ["label", "probability", "text", *["explanation"] * explained, *self._columns]
        self._after_text = len(row) - 3
        if self._has_header:
            names = io.StringIO()
            csv.writer(names, lineterminator="").writerow(map(self._safe, row))
            self._write_line(names.getvalue())
        for refusal in self._waiting:
            self._write_refusal(refusal)

    def write(self, answer: Answer | Refusal) -> None:
        if isinstance(answer, Refusal):
            if self._columns is None and len(self._waiting) < _MOST_WAITING:
                self._waiting.append(answer)
                return
            self._settle(None)
            self._write_refusal(answer)
            return
        self._settle(answer)
        columns = self._columns or []
        self.left_out.update(dict.fromkeys(name for name in answer.others if name not in columns))
        others = [_cell(answer.others.get(column)) for column in columns]
        found = answer.prediction
        if found.explanation is not None:
            others.insert(0, top_words(found.text, found.explanation))
        self._write_cells(found.probability, [found.label, found.text, *others])

    def _write_refusal(self, refusal: Refusal) -> None:
        self._write_cells(None, [ERROR, refusal.text, *[""] * self._after_text])

    def _write_cells(self, probability: float | None, cells: list[str]) -> None:
        if sys.stdout.isatty():
            cells = list(map(printable, cells))
        if self._escape_formulas:
            cells = list(map(self._safe, cells))
        self._write_line(self._line_of(probability, cells))

    def _safe(self, cell: str) -> str:
        return f"'{cell}" if self._escape_formulas and _FORMULA.match(cell) else cell

    def _write_line(self, line: str) -> None:
        sys.stdout.buffer.write(line.encode("utf-8", "replace") + b"\n")


# What a record that cannot be read is called in place of a label.
ERROR = "error"
# So many of them may come before the first message, which settles the columns.
_MOST_WAITING = 100
# What spreadsheets take for the beginning of a formula (OWASP, "CSV injection").
_FORMULA = re.compile("[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")


def _cell(value: object) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json_text(value, ensure_ascii=False)


# A tab or a line end within a field would make two of it.
_TSV_ESCAPES = str.maketrans({"\t": "\\t", "\r": "\\r", "\n": "\\n"})


def _tsv_line(probability: float | None, cells: list[str]) -> str:
    label, *others = (cell.translate(_TSV_ESCAPES) for cell in cells)
    return "\t".join([label, "" if probability is None else f"{probability:.4f}", *others])


def _csv_line(probability: float | None, cells: list[str]) -> str:
    line = io.StringIO()
    label, *others = cells
    writer = csv.writer(line, quoting=csv.QUOTE_NONNUMERIC, lineterminator="")
    rounded = "" if probability is None else round(probability, 4)
    writer.writerow([label, rounded, *others])
    return line.getvalue()


def headed(answer: Answer | Refusal, answers: Answers) -> bytes:
    """A mail as it came, with the answer as a header: verdict, probability of spam, threshold."""
    from spamgpt.data.mail import with_header

    raw, predictor = answer.row.raw, answers.predictor
    if isinstance(answer, Refusal):
        return with_header(raw, HEADER, "Error") if raw else raw
    found = answer.prediction
    verdict = {predictor.positive_label: "Yes", UNSURE: "Unsure"}.get(found.label, "No")
    probability = found.probabilities[predictor.positive_label]
    limits = (
        f"unsure={predictor.unsure[0]:g}..{predictor.unsure[1]:g}"
        if predictor.unsure
        else f"threshold={predictor.threshold:.4g}"
    )
    return with_header(raw, HEADER, f"{verdict}, probability={probability:.4f}, {limits}")


_COLOURS = {"spam": "red", "ham": "green", UNSURE: "yellow", ERROR: "magenta"}


def table_writer() -> Callable[..., None]:
    """Shows an answer, given its label, probability and text, cut to the width of the terminal.

    Given an explanation, too, all of the text is shown, with its words marked.
    """
    from rich.text import Text

    from spamgpt.cli.output.screen import stdout_console

    console = stdout_console()
    console.print(Text(f"{'label':8}  {'prob.':>6}  message", style="bold"))

    def show(
        label: str,
        probability: float | None,
        text: str,
        explanation: "Sequence[Span] | None" = None,
    ) -> None:
        row = Text()
        row.append(f"{printable(label):8}", style=_COLOURS.get(label, "cyan"))
        row.append(f"  {'' if probability is None else format(probability, '.1%'):>6}  ")
        if explanation is not None:
            console.print(row.append_text(marked(text, explanation)), soft_wrap=True)
            if words := top_words(text, explanation):
                console.print(Text(f"{'':18}{printable(words)}", style="dim"), soft_wrap=True)
            return
        row.append(printable(text[: console.width]))
        console.print(row, no_wrap=True, overflow="ellipsis")

    return show
