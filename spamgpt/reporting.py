"""How a stage tells what it is doing. The command line shows it; a script hears nothing."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Task:
    """One long piece of work with a known number of units; `advance` counts them."""

    def advance(self, units: int, detail: str = "") -> None:
        """Counts finished units; `detail` is a short text such as the current loss."""


class Reporter:
    """Receives what a stage has to say. This one keeps silent."""

    shows_progress = False  # whether there is a terminal for progress bars

    def note(self, text: str) -> None:
        """Something a user would like to know."""

    def warn(self, text: str) -> None:
        """Something a user should not overlook."""

    def table(self, *columns: str) -> Callable[..., None]:
        """Begins a table; the function returned adds a row, given a cell (str) for each column."""
        return lambda *cells: None

    @contextmanager
    def task(self, description: str, total: int, unit: str, done: int = 0) -> Iterator[Task]:
        """Announces `total` units of work, for a progress bar with a rate and a time to go.

        Of them, `done` were done before, in time that is not known.
        """
        yield Task()


SILENT = Reporter()
