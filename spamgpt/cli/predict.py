"""spamgpt predict"""

import csv
import io
import json as jsons
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, BinaryIO, Literal

import typer

from spamgpt.cli.options import (
    DEFAULT_WORKSPACE,
    DebugOption,
    DeviceOption,
    PrecisionOption,
    QuietOption,
    WorkspaceOption,
    reports_errors,
    settings_from,
)
from spamgpt.cli.printable import printable
from spamgpt.errors import UsageError
from spamgpt.stages.predict import BUNDLED, InputFormat, Prediction, PredictSettings, run
from spamgpt.workspace import Workspace

OutputFormat = Literal["auto", "text", "tsv", "jsonl", "csv"]


@reports_errors
def command(
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Files with messages; - or none for standard input.", show_default=False
        ),
    ] = None,
    format: Annotated[
        OutputFormat,
        typer.Option(
            help="Output. text: a coloured table; tsv: label, probability, text; auto: text on a "
            "terminal, tsv in a pipe."
        ),
    ] = "auto",
    only: Annotated[
        str | None,
        typer.Option(
            metavar="LABEL",
            help="Print just the messages of this label (unchanged, unless --format is given).",
        ),
    ] = None,
    input_format: Annotated[
        InputFormat,
        typer.Option(help="Input. lines: a message a line; auto: told by the file's name."),
    ] = PredictSettings.input_format,
    text_column: Annotated[
        str, typer.Option(help="The column or field that holds the message.")
    ] = PredictSettings.text_column,
    threshold: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Least probability of spam to say spam.",
            show_default="the classifier's",
        ),
    ] = None,
    save: Annotated[
        bool, typer.Option("--save", help="Keep the answers as an artifact, too.")
    ] = PredictSettings.save,
    classifier: Annotated[
        str | None,
        typer.Option(
            help="Which classifier (v1), or bundled: the one that comes with spamgpt.",
            show_default="newest, else bundled",
        ),
    ] = None,
    precision: PrecisionOption = PredictSettings.precision,
    device: DeviceOption = PredictSettings.device,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    quiet: QuietOption = False,
    json: Annotated[bool, typer.Option("--json", help="Short for --format jsonl.")] = False,
    debug: DebugOption = False,
) -> None:
    """Classify messages, one a line, in order, as they come.

    cat messages.txt | spamgpt predict

    tail -f inbox.txt | spamgpt predict --only ham >clean.txt

    spamgpt predict messages.csv --text-column body --format jsonl

    The probability shown is that of the label given. A line is answered even if it is empty.
    """
    from spamgpt.cli.screen import ScreenReporter

    format = "jsonl" if json and format == "auto" else format
    settings = settings_from(PredictSettings, locals())
    reporter = ScreenReporter(quiet)
    with ExitStack() as stack:
        inputs = [_open(path, stack, quiet) for path in files or [Path("-")]]
        answers = run(settings, Workspace(workspace), inputs)
        if only is not None and only not in answers.labels:
            raise UsageError(
                f"The classifier has no label {only!r}.", f"Use {' or '.join(answers.labels)}."
            )
        if answers.classifier == BUNDLED:
            reporter.note(
                "Answered by the bundled classifier (mini, made for English SMS and short mail). "
                "Your own: spamgpt run"
            )
        for text in answers.substitutions:
            reporter.warn(text)
        truncated = _write(answers.batches, format, only)
    if truncated:
        reporter.warn(
            f"{truncated:,} messages are longer than the model's {answers.context:,} tokens; "
            f"of each only the first {answers.context:,} were read."
        )


def _open(path: Path, stack: ExitStack, quiet: bool) -> tuple[str, BinaryIO]:
    if str(path) == "-":
        if sys.stdin.isatty() and not quiet:
            print("Reading messages from the keyboard, one a line; Ctrl-D ends.", file=sys.stderr)
        # Not sys.stdin, and never closed: the thread that waits for the next line holds the lock
        # that closing, also Python's own at exit, would wait for.
        return "standard input", open(0, "rb", closefd=False)
    return str(path), stack.enter_context(path.open("rb"))


def _write(batches: Iterator[list[Prediction]], format: str, only: str | None) -> int:
    """Writes the answers, each batch at once; returns how many messages did not fit the context."""
    terminal = sys.stdout.isatty()
    unchanged = only is not None and format == "auto"
    if format == "auto":
        format = "text" if terminal else "tsv"
    if format == "text" and not unchanged:
        show_row = table_writer()

        def show(answer: Prediction) -> None:
            show_row(answer.label, answer.probability, answer.text)

    else:
        line_of = _unchanged if unchanged else _LINE_OF[format]
        output = sys.stdout.buffer

        def show(answer: Prediction) -> None:
            line = line_of(answer)
            if terminal:
                line = printable(line.decode("utf-8", "replace")).encode()
            output.write(line + b"\n")

        if format == "csv" and not unchanged:
            output.write(b"label,probability,text\n")
    truncated = 0
    for batch in batches:
        for answer in batch:
            truncated += answer.truncated
            if only in (None, answer.label):
                show(answer)
        sys.stdout.flush()
    return truncated


def _unchanged(answer: Prediction) -> bytes:
    return answer.row.raw


def _tsv(answer: Prediction) -> bytes:
    # A text with line ends (out of CSV or JSONL) would break the promise of one line each.
    text = answer.text.replace("\r", "\\r").replace("\n", "\\n")
    return f"{answer.label}\t{answer.probability:.4f}\t{text}".encode("utf-8", "replace")


def _jsonl(answer: Prediction) -> bytes:
    return jsons.dumps(answer.to_dict(), ensure_ascii=False).encode("utf-8", "replace")


def _csv(answer: Prediction) -> bytes:
    line = io.StringIO()
    writer = csv.writer(line, quoting=csv.QUOTE_NONNUMERIC, lineterminator="")
    writer.writerow([answer.label, round(answer.probability, 4), answer.text])
    return line.getvalue().encode("utf-8", "replace")


_LINE_OF: dict[str, Callable[[Prediction], bytes]] = {
    "text": _tsv,
    "tsv": _tsv,
    "jsonl": _jsonl,
    "csv": _csv,
}
_COLOURS = {"spam": "red", "ham": "green"}


def table_writer() -> Callable[[str, float, str], None]:
    """Shows an answer, given its label, probability and text, cut to the width of the terminal."""
    from rich.text import Text

    from spamgpt.cli.screen import stdout_console

    console = stdout_console()
    console.print(Text(f"{'label':8}  {'prob.':>6}  message", style="bold"))

    def show(label: str, probability: float, text: str) -> None:
        row = Text()
        row.append(f"{printable(label):8}", style=_COLOURS.get(label, "cyan"))
        row.append(f"  {probability:6.1%}  ")
        row.append(printable(text[: console.width]))
        console.print(row, no_wrap=True, overflow="ellipsis")

    return show
