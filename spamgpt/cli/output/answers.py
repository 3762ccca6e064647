"""How `predict` writes its answers to standard output: as a table, TSV, CSV, JSONL, or as mails."""

import csv
import io
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from spamgpt.classifier.predictor import UNSURE
from spamgpt.cli.output.highlights import marked, top_words
from spamgpt.printable import counted, printable
from spamgpt.stages.predict import Answer, Answers

if TYPE_CHECKING:
    from spamgpt.classifier.explanation import Span

OutputFormat = Literal["auto", "text", "tsv", "jsonl", "csv"]

# "unchanged": the messages as they came; "headed": mails with a header added; "none": nothing.
Shape = Literal["text", "tsv", "jsonl", "csv", "unchanged", "headed", "none"]

# The header that mail filters look for, as SpamAssassin writes it.
HEADER = "X-Spam-Status"


@dataclass
class Summary:
    """What was answered: messages of each label, how many were read in windows, the time.

    `left_out` are columns that CSV or TSV had no room for: the first message did not have them.
    """

    counts: Counter[str] = field(default_factory=Counter)
    long: int = 0
    seconds: float = 0.0
    left_out: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        total = self.counts.total()
        labels = ", ".join(f"{count:,} {label}" for label, count in sorted(self.counts.items()))
        rate = f" ({total / self.seconds:,.0f} messages/s)" if total and self.seconds else ""
        return f"{counted(total, 'message')}{': ' * bool(labels)}{labels}{rate}"


def shape_of(format: OutputFormat, only: bool) -> Shape:
    """What is written for the option --format, with --only or without."""
    if format != "auto":
        return format
    if only:
        return "unchanged"
    return "text" if sys.stdout is not None and sys.stdout.isatty() else "tsv"


def write_answers(answers: Answers, shape: Shape, only: str | None, summary: Summary) -> None:
    """Writes the answers, each batch at once, or those of the label `only`; fills the summary."""
    table = _Table(shape)
    write = _writer(answers, shape) or table.write
    begin = time.perf_counter()
    for batch in answers.batches:
        for answer in batch:
            summary.long += answer.prediction.windows > 1
            summary.counts[answer.prediction.label] += 1
            if only in (None, answer.prediction.label):
                write(answer)
        sys.stdout.flush()
        summary.seconds = time.perf_counter() - begin
    if shape == "csv":
        table.write_header()
        sys.stdout.flush()
    summary.left_out = list(table.left_out)


def _writer(answers: Answers, shape: Shape) -> Callable[[Answer], object] | None:
    """What writes one answer in a shape that is no table of columns."""
    if shape == "text":
        show = table_writer()

        def show_answer(answer: Answer) -> None:
            found = answer.prediction
            show(found.label, found.probability, found.text, found.explanation)

        return show_answer
    if shape == "jsonl":
        return lambda answer: sys.stdout.buffer.write(_json_line(answer))
    if shape == "unchanged":
        return _Unchanged().write
    if shape == "headed":
        return lambda answer: _write(headed(answer, answers))
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


def _json_line(answer: Answer) -> bytes:
    text = json.dumps(answer.to_dict(), ensure_ascii=False)
    if sys.stdout.isatty():
        text = printable(text)
    return text.encode("utf-8", "replace") + b"\n"


class _Unchanged:
    """Messages as they came; those of a table after the line that names its columns."""

    def __init__(self) -> None:
        self._header: bytes | None = None

    def write(self, answer: Answer) -> None:
        row = answer.row
        if row.header is not None and row.header != self._header:
            self._header = row.header
            _write(row.header + b"\n")
        _write(row.raw + row.end)


class _Table:
    """CSV or TSV: label, probability, text, and then the other columns of the first message.

    With --explain, `explanation` comes after the text: the words that spoke most for the label.
    """

    def __init__(self, shape: Shape) -> None:
        self._line_of = _csv_line if shape == "csv" else _tsv_line
        self._has_header = shape == "csv"
        self._columns: list[str] | None = None
        self.left_out: dict[str, None] = {}

    def write_header(self, first: Answer | None = None) -> None:
        """Settles the columns, unless they are."""
        if self._columns is None:
            self._columns = list(first.others) if first else []
            if self._has_header:
                names = io.StringIO()
                explained = first is not None and first.prediction.explanation is not None
                row = ["label", "probability", "text", *["explanation"] * explained, *self._columns]
                csv.writer(names, lineterminator="").writerow(row)
                self._write_cells(names.getvalue())

    def write(self, answer: Answer) -> None:
        self.write_header(answer)
        columns = self._columns or []
        self.left_out.update(dict.fromkeys(name for name in answer.others if name not in columns))
        others = [_cell(answer.others.get(column)) for column in columns]
        found = answer.prediction
        if found.explanation is not None:
            others.insert(0, top_words(found.text, found.explanation))
        cells = [found.label, found.text, *others]
        if sys.stdout.isatty():
            cells = list(map(printable, cells))
        self._write_cells(self._line_of(found.probability, cells))

    def _write_cells(self, line: str) -> None:
        sys.stdout.buffer.write(line.encode("utf-8", "replace") + b"\n")


def _cell(value: object) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


# A tab or a line end within a field would make two of it.
_TSV_ESCAPES = str.maketrans({"\t": "\\t", "\r": "\\r", "\n": "\\n"})


def _tsv_line(probability: float, cells: list[str]) -> str:
    label, *others = (cell.translate(_TSV_ESCAPES) for cell in cells)
    return "\t".join([label, f"{probability:.4f}", *others])


def _csv_line(probability: float, cells: list[str]) -> str:
    line = io.StringIO()
    label, *others = cells
    writer = csv.writer(line, quoting=csv.QUOTE_NONNUMERIC, lineterminator="")
    writer.writerow([label, round(probability, 4), *others])
    return line.getvalue()


def headed(answer: Answer, answers: Answers) -> bytes:
    """A mail as it came, with the answer as a header: verdict, probability of spam, threshold."""
    from spamgpt.data.mail import with_header

    found, predictor = answer.prediction, answers.predictor
    verdict = {predictor.positive_label: "Yes", UNSURE: "Unsure"}.get(found.label, "No")
    probability = found.probabilities[predictor.positive_label]
    limits = (
        f"unsure={predictor.unsure[0]:g}..{predictor.unsure[1]:g}"
        if predictor.unsure
        else f"threshold={predictor.threshold:.4g}"
    )
    value = f"{verdict}, probability={probability:.4f}, {limits}"
    return with_header(answer.row.raw, HEADER, value) + answer.row.end


_COLOURS = {"spam": "red", "ham": "green", UNSURE: "yellow"}


def table_writer() -> Callable[..., None]:
    """Shows an answer, given its label, probability and text, cut to the width of the terminal.

    Given an explanation, too, all of the text is shown, with its words marked.
    """
    from rich.text import Text

    from spamgpt.cli.output.screen import stdout_console

    console = stdout_console()
    console.print(Text(f"{'label':8}  {'prob.':>6}  message", style="bold"))

    def show(
        label: str, probability: float, text: str, explanation: "Sequence[Span] | None" = None
    ) -> None:
        row = Text()
        row.append(f"{printable(label):8}", style=_COLOURS.get(label, "cyan"))
        row.append(f"  {probability:6.1%}  ")
        if explanation is not None:
            console.print(row.append_text(marked(text, explanation)), soft_wrap=True)
            if words := top_words(text, explanation):
                console.print(Text(f"{'':18}{printable(words)}", style="dim"), soft_wrap=True)
            return
        row.append(printable(text[: console.width]))
        console.print(row, no_wrap=True, overflow="ellipsis")

    return show
