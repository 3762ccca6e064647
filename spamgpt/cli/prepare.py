"""spamgpt prepare"""

from typing import Annotated

import typer

from spamgpt.cli.options import (
    DEFAULT_WORKSPACE,
    BalanceOption,
    DebugOption,
    JsonOption,
    KeepDuplicatesOption,
    LabelColumnOption,
    QuietOption,
    RecipeOption,
    SeedOption,
    SplitOption,
    StratifyOption,
    TextColumnOption,
    WorkspaceOption,
    reports_errors,
    settings_from,
)
from spamgpt.printable import counted
from spamgpt.stages.prepare import PrepareSettings, run
from spamgpt.workspace import Artifact, Workspace


@reports_errors
def command(
    dataset: Annotated[
        str | None, typer.Option(help="Data set to split (name or name/v1).", show_default="newest")
    ] = None,
    balance: BalanceOption = PrepareSettings.balance,
    split: SplitOption = PrepareSettings.split,
    seed: SeedOption = PrepareSettings.seed,
    keep_duplicates: KeepDuplicatesOption = PrepareSettings.keep_duplicates,
    stratify: StratifyOption = PrepareSettings.stratify,
    text_column: TextColumnOption = PrepareSettings.text_column,
    label_column: LabelColumnOption = PrepareSettings.label_column,
    recipe: RecipeOption = PrepareSettings.recipe,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    quiet: QuietOption = False,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Split a data set into training, validation and test sets.

    Duplicate texts are removed before the split, so that no test message is seen in training.
    """
    from spamgpt.cli.output.screen import (
        ScreenReporter,
        show_json,
        show_result,
        warn_of_substitutions,
    )

    settings = settings_from(PrepareSettings, locals())
    reporter = ScreenReporter(quiet)
    artifact = run(settings, Workspace(workspace), reporter)
    warn_of_substitutions(artifact, reporter)
    if json:
        show_json(artifact.summary)
        return
    show_result(describe_prepared(artifact))


def describe_prepared(prepared: Artifact) -> list[tuple[str, str]]:
    """What was prepared, split by split, and from what."""
    counts = prepared.metadata
    parts = {
        name: f"{counted(part['messages'], 'message')}: "
        + ", ".join(f"{part['labels'].get(label, 0):,} {label}" for label in counts["labels"])
        for name, part in counts["splits"].items()
    }
    return [
        (
            prepared.reference,
            f"{counts['messages']:,} of {counted(counts['read'], 'message')}"
            f" ({counted(counts['repeats_dropped'], 'repeat')} dropped)",
        ),
        *parts.items(),
        ("from", prepared.manifest["inputs"][0]["artifact"]),
    ]
