"""The options that commands share, and what happens to the errors of all of them."""

import functools
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, ParamSpec

import typer

from spamgpt.device import Device
from spamgpt.errors import as_user_error

Parameters = ParamSpec("Parameters")

WorkspaceOption = Annotated[
    Path,
    typer.Option(
        "--workspace",
        "-w",
        envvar="SPAMGPT_WORKSPACE",
        help="The folder that holds all artifacts.",
        show_default="./workspace",
    ),
]
DEFAULT_WORKSPACE = Path("workspace")
QuietOption = Annotated[
    bool, typer.Option("--quiet", "-q", help="No progress and no notes, only results and warnings.")
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="The result as one JSON object on standard output.")
]
DebugOption = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
DeviceOption = Annotated[
    Device, typer.Option("--device", help="Where to compute; auto: on a GPU if there is one.")
]
SeedOption = Annotated[
    int,
    typer.Option("--seed", min=0, max=2**31 - 1, help="The same seed gives the same result."),
]


def reports_errors(command: Callable[Parameters, None]) -> Callable[Parameters, None]:
    """Lets a command end as users expect: a line and a hint for an error, its exit status.

    A closed pipe (`| head`) is no error; Ctrl-C ends with 130 (typer sees to that).
    """

    @functools.wraps(command)
    def wrapped(*args: Parameters.args, **kwargs: Parameters.kwargs) -> None:
        try:
            command(*args, **kwargs)
            sys.stdout.flush()
        except typer.Exit:
            raise
        except BrokenPipeError:
            # Python would try to flush once more at exit and complain.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except Exception as error:
            if kwargs.get("debug"):
                traceback.print_exc()
            raise typer.Exit(_show_error(error)) from error

    return wrapped


def _show_error(error: Exception) -> int:
    from spamgpt.cli.printable import printable
    from spamgpt.cli.screen import stderr_console

    shown = as_user_error(error)
    console = stderr_console()
    console.print("error:", style="bold red", end=" ")
    console.print(printable(shown.message), markup=False, highlight=False, soft_wrap=True)
    console.print(" hint:", style="bold", end=" ")
    console.print(printable(shown.hint), markup=False, highlight=False, soft_wrap=True)
    return shown.exit_status
