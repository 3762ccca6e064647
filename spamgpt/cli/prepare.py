"""spamgpt prepare"""

from typing import Annotated

import typer

from spamgpt.cli.options import (
    DEFAULT_WORKSPACE,
    DebugOption,
    JsonOption,
    QuietOption,
    SeedOption,
    WorkspaceOption,
    reports_errors,
)
from spamgpt.stages.prepare import PrepareSettings, run
from spamgpt.workspace import Workspace


@reports_errors
def command(
    dataset: Annotated[
        str | None, typer.Option(help="Which data set (name or name/v1).", show_default="newest")
    ] = None,
    balance: Annotated[
        bool,
        typer.Option("--balance", help="Keep as many messages of each label as the rarest has."),
    ] = PrepareSettings.balance,
    split: Annotated[
        str, typer.Option(help="Training, validation and test shares in percent.")
    ] = PrepareSettings.split,
    seed: SeedOption = PrepareSettings.seed,
    keep_duplicates: Annotated[
        bool,
        typer.Option("--keep-duplicates", help="Keep repeated texts (they leak into the test)."),
    ] = PrepareSettings.keep_duplicates,
    stratify: Annotated[
        bool, typer.Option(help="Give every split the labels in the same proportion.")
    ] = PrepareSettings.stratify,
    text_column: Annotated[
        str, typer.Option(help="The column that holds the messages.")
    ] = PrepareSettings.text_column,
    label_column: Annotated[
        str, typer.Option(help="The column that holds the labels.")
    ] = PrepareSettings.label_column,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    quiet: QuietOption = False,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Split a data set into training, validation and test messages.

    Repeated texts are dropped before the split, so that the test holds no message seen in training.
    """
    from spamgpt.cli.screen import ScreenReporter, show_json, show_result

    settings = PrepareSettings(
        dataset, balance, split, seed, keep_duplicates, stratify, text_column, label_column
    )
    artifact = run(settings, Workspace(workspace), ScreenReporter(quiet))
    counts = artifact.counts
    if json:
        show_json(artifact.as_input | counts)
        return
    parts = {
        name: f"{part['messages']:,} messages: "
        + ", ".join(f"{part['labels'].get(label, 0):,} {label}" for label in counts["labels"])
        for name, part in counts["splits"].items()
    }
    show_result(
        [
            (
                artifact.reference,
                f"{counts['messages']:,} of {counts['read']:,} messages"
                f" ({counts['repeats_dropped']:,} repeats dropped)",
            ),
            *parts.items(),
            ("from", artifact.manifest["inputs"][0]["artifact"]),
        ]
    )
