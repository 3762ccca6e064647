"""What every command has besides its options: how errors of usage end, help as wide as fits."""

import shutil
from collections.abc import Sequence
from typing import Any

from typer.core import TyperCommand

from spamgpt.cli.output.streams import print_error_object

# The status of a command whose other ones (0, 1, 2) are answers.
NO_ANSWER = 3
# Where a screen is narrower, help stands below its option and not beside it.
_TWO_COLUMNS = 60


class Command(TyperCommand):
    """Errors of usage end as other errors do: with --json as an object, with --exit-code as 3."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As every command, but for how an error is told."""
        given = list(args)
        try:
            return super().parse_args(ctx, args)
        except Exception as error:
            if getattr(error, "exit_code", 0):
                if "--exit-code" in given:
                    error.exit_code = NO_ANSWER  # type: ignore[attr-defined]
                if "--json" in given and hasattr(error, "format_message"):
                    hint = f"{ctx.command_path} --help"
                    print_error_object(error.format_message(), hint, error.exit_code)  # type: ignore[attr-defined]
            raise

    def get_help(self, ctx: Any) -> str:
        """The help, no wider than the terminal."""
        return fit_help(super().get_help, ctx)


def fit_help(get_help: Any, ctx: Any) -> str:
    """What a method makes of a context, no wider than the terminal, also where it is narrow."""
    columns = shutil.get_terminal_size().columns
    if columns < _TWO_COLUMNS:
        ctx.terminal_width = max(columns - 1, 20)
        ctx.formatter_class = _narrow(ctx.formatter_class)
    return str(get_help(ctx))


def _narrow(formatter: Any) -> Any:
    """A formatter of click that writes definitions below their terms."""
    from textwrap import wrap

    class Narrow(formatter):  # type: ignore[misc]
        def write_dl(self, rows: Sequence[tuple[str, str]], *sizes: Any, **others: Any) -> None:
            for term, definition in rows:
                for text, indent in ((term, 0), (definition, 4)):
                    margin = " " * (self.current_indent + indent)
                    # Lists of choices break where a choice ends.
                    for line in wrap(
                        text.replace("|", "| "),
                        self.width,
                        break_on_hyphens=False,
                        initial_indent=margin,
                        subsequent_indent=margin,
                    ):
                        self.write(line.replace("| ", "|") + "\n")

    return Narrow
