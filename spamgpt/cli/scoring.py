"""`predict --engine ray`: its own options, and what is shown of its job."""

from collections.abc import Set
from typing import Annotated, Literal, get_args

import typer

from spamgpt.addresses import without_secrets
from spamgpt.cli.output.answers import OutputFormat
from spamgpt.errors import BadDataError, UsageError
from spamgpt.printable import counted
from spamgpt.reporting import Reporter
from spamgpt.stages.parts import PartFormat
from spamgpt.stages.score import ScoreSettings, run
from spamgpt.workspace import Workspace

Engine = Literal["local", "ray"]

OutputOption = Annotated[
    str | None,
    typer.Option(
        metavar="DIR",
        help="With --engine ray: folder for the answers, or its address.",
        show_default=False,
    ),
]
AddressOption = Annotated[
    str | None,
    typer.Option(
        help="With --engine ray: a running cluster, such as auto or 10.0.0.1:6379.",
        show_default="a cluster on this machine, for this job",
    ),
]
ConcurrencyOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="With --engine ray: number of workers, each with the classifier and --threads CPUs "
        "(by default one).",
        show_default="as many as the cluster has room for",
    ),
]
NumGpusOption = Annotated[
    float,
    typer.Option(
        min=0, help="With --engine ray: GPUs of each worker; with 0.5, two workers share one."
    ),
]

_OF_RAY = ("output", "address", "concurrency", "num_gpus")
_OF_LOCAL = ("only", "exit_code", "add_header", "escape_formulas", "watch", "explain", "save")


def check_engine(engine: Engine, format: OutputFormat, given: Set[str]) -> None:
    """Raises UsageError for options, of those given, that are not for the engine."""
    if engine == "local":
        if wrong := next((name for name in _OF_RAY if name in given), None):
            raise UsageError(f"`{wrong}` is for `engine=ray`.", "Give that, or leave it out.")
        if format == "parquet":
            raise UsageError("`format=parquet` is for `engine=ray`.", "Use `format=jsonl`.")
        return
    if wrong := next((name for name in _OF_LOCAL if name in given), None):
        raise UsageError(f"`{wrong}` and `engine=ray` cannot be combined.", "Leave one out.")
    if format not in ("auto", *get_args(PartFormat)):
        raise UsageError(f"`engine=ray` does not write `format={format}`.", "Use jsonl or parquet.")
    if "output" not in given:
        raise UsageError("`engine=ray` needs a folder for the answers.", "Give `output=DIR`.")


def score(settings: ScoreSettings, workspace: Workspace, reporter: Reporter, quiet: bool) -> None:
    """Runs the job and shows what became of it; ends with status 4 if there were errors."""
    from spamgpt.cli.output.screen import show_result

    if not settings.inputs or "-" in settings.inputs:
        raise UsageError(
            "Standard input cannot be read by several workers.", "Name files, folders or addresses."
        )
    try:
        done = run(settings, workspace, reporter, quiet)
    except KeyboardInterrupt:
        reporter.note("Stopped. The same command goes on with what is missing.")
        raise
    labels = ", ".join(f"{count:,} {label}" for label, count in sorted(done.labels.items()))
    now = counted(done.messages - done.before, "message")
    show_result(
        [
            ("answers", without_secrets(done.output)),
            *([("before", counted(done.before, "message"))] if done.before else []),
            ("now", f"{now}: {labels}" if labels else now),
        ]
    )
    if done.errors and settings.predict.on_error != "skip":
        reporter.warn(f"Records or files that could not be read: {done.errors:,}.")
        if settings.predict.on_error == "answer":
            raise typer.Exit(BadDataError.exit_status)
