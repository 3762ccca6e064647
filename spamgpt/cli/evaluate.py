"""spamgpt evaluate"""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from spamgpt.cli.options import (
    DEFAULT_WORKSPACE,
    DebugOption,
    DeviceOption,
    JsonOption,
    PrecisionOption,
    QuietOption,
    WorkspaceOption,
    reports_errors,
    settings_from,
)
from spamgpt.stages.evaluate import EvaluateSettings, Split, run
from spamgpt.workspace import Artifact, Workspace


@reports_errors
def command(
    split: Annotated[Split, typer.Option(help="Which split.")] = EvaluateSettings.split,
    classifier: Annotated[
        str | None, typer.Option(help="Which classifier (v1).", show_default="newest")
    ] = None,
    prepared: Annotated[
        str | None,
        typer.Option(help="Which prepared data (v1).", show_default="what it was trained on"),
    ] = None,
    precision: PrecisionOption = EvaluateSettings.precision,
    device: DeviceOption = EvaluateSettings.device,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    quiet: QuietOption = False,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Score a classifier on labelled messages, by default on the test split it never saw."""
    from spamgpt.cli.screen import ScreenReporter, show_json, warn_of_substitutions

    settings = settings_from(EvaluateSettings, locals())
    reporter = ScreenReporter(quiet)
    artifact, metrics = run(settings, Workspace(workspace), reporter)
    warn_of_substitutions(artifact, reporter)
    if json:
        show_json(artifact.summary | metrics)
        return
    show_metrics(artifact, metrics)


def show_metrics(evaluation: Artifact, metrics: Mapping[str, Any]) -> None:
    """The scores, as a heading and a table with a row for each label."""
    from rich.table import Table
    from rich.text import Text

    from spamgpt.cli.printable import printable
    from spamgpt.cli.screen import stdout_console

    judged = evaluation.manifest["inputs"][0]["artifact"]
    title = (
        f"{evaluation.reference}: {judged} on the {metrics['split']} split, "
        f"{metrics['messages']:,} messages"
    )
    console = stdout_console()
    console.print(Text(printable(title), style="bold"), soft_wrap=True)
    auc = "none" if metrics["roc_auc"] is None else f"{metrics['roc_auc']:.4f}"
    console.print(
        f"accuracy {metrics['accuracy']:.2%}   ROC-AUC {auc}   loss {metrics['loss']:.4f}"
    )
    confusion = metrics["confusion_matrix"]
    labels = [Text(printable(label)) for label in metrics["labels"]]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("label")
    for name in ("messages", "precision", "recall", "F1"):
        table.add_column(name, justify="right")
    for label in labels:
        table.add_column(Text("taken for ").append(label), justify="right")
    for label, scores, row in zip(labels, metrics["labels"].values(), confusion, strict=True):
        table.add_row(
            label,
            f"{scores['messages']:,}",
            *(f"{scores[name]:.2%}" for name in ("precision", "recall", "f1")),
            *(f"{count:,}" for count in row),
        )
    console.print(table)
