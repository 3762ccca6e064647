"""spamgpt sweep"""

from typing import Annotated, Any

import typer

from spamgpt.cli.options import (
    DEFAULT_WORKSPACE,
    DebugOption,
    DeviceOption,
    JsonOption,
    QuietOption,
    ThreadsOption,
    WorkspaceOption,
    reports_errors,
    settings_from,
)
from spamgpt.device import set_threads
from spamgpt.stages.sweep import PlannedSweep, SweepSettings, plan_sweep, run
from spamgpt.workspace import Workspace


@reports_errors
def command(
    grid: Annotated[
        str,
        typer.Argument(
            help="TOML file with the settings to try, or published: the nineteen published "
            "variants.",
            metavar="GRID.toml",
        ),
    ],
    model: Annotated[
        str | None,
        typer.Option(
            help="Pretrained model for the runs that name none, such as mini.",
            show_default="newest",
        ),
    ] = None,
    prepared: Annotated[
        str | None,
        typer.Option(
            help="Prepared data for all runs, such as v1.",
            show_default="what the file says, else newest",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be run, then exit.")
    ] = False,
    device: DeviceOption = SweepSettings.device,
    threads: ThreadsOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    quiet: QuietOption = False,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Train with several settings and seeds; show one table of the results.

    Settings of finetune at the top of the file, spelled as in Python (learning_rate), hold for all
    runs; each [[run]] changes some of them. A list of values tries each of them; seeds = [1, 2, 3]
    trains every run three times. Without [prepare] options, the newest prepared data is used.

    What is done already is not done again, so an interrupted sweep goes on with the same command.
    With several seeds, Student's paired t-test tells which runs differ from the first by more than
    chance, with one seed McNemar's test; both with Holm's correction.
    """
    set_threads(threads)
    from spamgpt.cli.output.screen import ScreenReporter, show_json, stdout_console

    settings, reporter = settings_from(SweepSettings, locals()), ScreenReporter(quiet)
    if dry_run:
        planned = plan_sweep(settings, Workspace(workspace), reporter)
        if json:
            show_json(_plan_as_json(planned))
        else:
            _show_plan(planned, ScreenReporter(console=stdout_console()))
        return
    artifact, table = run(settings, Workspace(workspace), reporter)
    if json:
        rows = table.to_frame().astype(object)
        show_json(
            artifact.summary
            | {"test": table.test, "table": rows.where(rows.notna(), None).to_dict("records")}
        )
        return
    from rich.table import Table
    from rich.text import Text

    console = stdout_console()
    console.print(Text(artifact.reference, style="bold"))
    columns, cells = table.cells()
    shown = Table(box=None, padding=(0, 1, 0, 0), header_style="bold")
    for index, (column, *values) in enumerate(zip(columns, *cells, strict=True)):
        # On a narrow screen the names and the headings are broken into lines, not the numbers.
        longest = max(map(len, column.split() + (values if index else [])))
        shown.add_column(
            column, justify="right" if index else "left", min_width=max(longest, 0 if index else 12)
        )
    for line in cells:
        shown.add_row(*map(Text, line))
    console.print(shown)
    for name, reason in artifact.metadata["not_run"].items():
        console.print(Text(f"{name}: not run; {reason}"), soft_wrap=True)
    console.print(Text(table.verdict()), soft_wrap=True)
    reporter.note(f"Table and chart: {artifact.folder}")


def _plan_as_json(planned: PlannedSweep) -> dict[str, Any]:
    return {
        "prepared": planned.prepared.reference,
        "seeds": list(planned.grid.seeds),
        "runs": [
            {
                "run": row.row.name,
                "model": row.model.reference if row.model else None,
                "trained_parameters": row.trained_parameters,
                "done": row.done,
                "not_run": row.not_run,
            }
            for row in planned.rows
        ],
    }


def _show_plan(planned: PlannedSweep, reporter: Any) -> None:
    width = max(len(row.row.name) for row in planned.rows)
    line = reporter.table("run".ljust(width), "  trained", "done", "")
    for row in planned.rows:
        trained = f"{row.trained_parameters:,}" if row.trained_parameters else "-"
        of = f"{row.done}/{len(row.plans)}" if row.plans else "-"
        line(row.row.name, trained, of, row.not_run or "")
