"""What commands show: results on standard output, notes and progress on standard error."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Task as RichTask
from rich.text import Text

from spamgpt.cli.output.wording import in_options
from spamgpt.printable import printable
from spamgpt.reporting import Reporter, Task
from spamgpt.workspace import Artifact

# Seconds between the lines that stand for a progress bar where there is no terminal.
_PLAIN_INTERVAL = 5.0


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Lets the command see a closed pipe, instead of ending with status 1 as rich does."""
        raise BrokenPipeError


def stderr_console() -> Console:
    """The console of notes, warnings, errors and progress."""
    return _Console(stderr=True, highlight=False, emoji=False)


def stdout_console() -> Console:
    """The console of results."""
    return _Console(highlight=False, emoji=False)


def show_result(pairs: Sequence[tuple[str, str]]) -> None:
    """Prints names and values in two columns on standard output."""
    console = stdout_console()
    width = max(len(name) for name, _ in pairs) + 2
    for name, value in pairs:
        line = Text(name.ljust(width), style="bold").append(printable(value), style="not bold")
        console.print(line, soft_wrap=True)


def warn_of_substitutions(artifact: Artifact, reporter: Reporter) -> None:
    """Says what an artifact stands on in place of what was wanted."""
    for text in artifact.substitutions:
        reporter.warn(text)


def show_markdown(text: str) -> None:
    """Prints a document on standard output: laid out on a terminal, as it is in a pipe."""
    console = stdout_console()
    if console.is_terminal:
        from rich.markdown import Markdown

        safe = "\n".join(printable(line) for line in text.splitlines())
        console.print(Markdown(safe))
    else:
        print(text, end="")


def local_time(moment: datetime) -> str:
    """A time as the user's clock shows it, to the minute."""
    return moment.astimezone().strftime("%Y-%m-%d %H:%M")


def show_json(value: Any) -> None:
    """Prints a value as JSON on one line of standard output."""
    text = json.dumps(value, ensure_ascii=False)
    # The bytes of a path that are not UTF-8 are spelled out, as JSON can.
    print(text.encode(errors="backslashreplace").decode())


class ScreenReporter(Reporter):
    """Shows what a stage has to say, on standard error; `quiet` leaves only the warnings."""

    def __init__(self, quiet: bool = False, console: Console | None = None) -> None:
        self._console = console or stderr_console()
        self._quiet = quiet
        self.shows_progress = self._console.is_terminal and not quiet

    def note(self, text: str) -> None:
        """Shows a line, unless the command is to be quiet."""
        if not self._quiet:
            self._console.print(printable(in_options(text)), markup=False, soft_wrap=True)

    def warn(self, text: str) -> None:
        """Shows a line that stands out, always."""
        self._console.print(
            f"warning: {printable(in_options(text))}", style="yellow", markup=False, soft_wrap=True
        )

    def table(self, *columns: str) -> Callable[..., None]:
        """Shows the names of the columns; the function returned shows a row below them."""

        def row(*cells: str) -> None:
            first, *others = (
                cell.ljust(len(column)) if index == 0 else cell.rjust(len(column))
                for index, (cell, column) in enumerate(zip(cells, columns, strict=True))
            )
            self.note("  ".join([first, *others]).rstrip())

        row(*columns)
        return row

    @contextmanager
    def task(self, description: str, total: int, unit: str, done: int = 0) -> Iterator[Task]:
        """Shows a progress bar on a terminal, a line now and then elsewhere."""
        if self._quiet:
            yield Task()
        elif not self.shows_progress:
            yield _PlainTask(self, description, total, unit, done)
        else:
            columns = (
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=None),
                MofNCompleteColumn(),
                _RateColumn(unit),
                TimeRemainingColumn(),
                TextColumn("{task.fields[detail]}", markup=False),
            )
            with Progress(*columns, console=self._console, transient=True) as progress:
                yield _BarTask(progress, description, total, done)


class _BarTask(Task):
    def __init__(self, progress: Progress, description: str, total: int, done: int) -> None:
        self._progress = progress
        self._task = progress.add_task(description, total=total, completed=done, detail="")

    def advance(self, units: int, detail: str = "") -> None:
        self._progress.update(self._task, advance=units, detail=detail)


class _PlainTask(Task):
    """A line now and then, for logs and pipes; short work prints none."""

    def __init__(
        self, reporter: ScreenReporter, description: str, total: int, unit: str, done: int
    ) -> None:
        self._reporter = reporter
        self._description = description
        self._total = total
        self._unit = unit
        self._done = self._done_before = done
        self._started = self._shown = time.monotonic()

    def advance(self, units: int, detail: str = "") -> None:
        self._done += units
        now = time.monotonic()
        if now - self._shown < _PLAIN_INTERVAL or not self._done_before < self._done < self._total:
            return
        self._shown = now
        rate = (self._done - self._done_before) / (now - self._started)
        to_go = (self._total - self._done) / rate
        self._reporter.note(
            f"{self._description}: {self._done:,} of {self._total:,} {self._unit}, "
            f"{_speed(rate, self._unit)}, {to_go:.0f} s to go" + (f", {detail}" if detail else "")
        )


class _RateColumn(ProgressColumn):
    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: RichTask) -> Text:
        rate = task.finished_speed or task.speed
        return Text(_speed(rate, self._unit) if rate else "")


def _speed(rate: float, unit: str) -> str:
    """`17 messages/s` or, of what takes longer than a second, how long each takes: `40 s/run`."""
    return f"{rate:.0f} {unit}/s" if rate >= 1 else f"{1 / rate:.0f} s/{unit.removesuffix('s')}"
