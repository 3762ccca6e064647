"""spamgpt prepare"""

from collections.abc import Mapping
from typing import Annotated

import typer

from spamgpt.cli.options import (
    DEFAULT_WORKSPACE,
    BalanceOption,
    CorrectionsOption,
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
    corrections: CorrectionsOption = PrepareSettings.corrections,
    recipe: RecipeOption = PrepareSettings.recipe,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    quiet: QuietOption = False,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Split a data set into training, validation and test sets.

    Duplicate texts are removed before the split, so that no test message is seen in training. What
    was taught with spamgpt learn is added to the training split; a corrected message that the data
    set has stays in its split and gets the corrected label.
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
    taken_in = counts.get("corrections", {"added": 0})
    return [
        (
            prepared.reference,
            f"{counts['messages'] - taken_in['added']:,} of {counted(counts['read'], 'message')}"
            f" ({counted(counts['repeats_dropped'], 'repeat')} dropped)",
        ),
        *([("corrections", _describe_corrections(taken_in))] if "taken" in taken_in else []),
        *parts.items(),
        ("from", prepared.manifest["inputs"][0]["artifact"]),
    ]


def _describe_corrections(taken_in: Mapping[str, int]) -> str:
    found = taken_in["taken"] - taken_in["added"]
    return (
        f"{taken_in['taken']:,}: {taken_in['added']:,} messages added, {found:,} in the data set "
        f"({taken_in['relabelled']:,} labels changed)"
    )
