"""spamgpt import"""

from typing import Annotated

import typer

from spamgpt.cli.options import (
    DEFAULT_WORKSPACE,
    DebugOption,
    JsonOption,
    QuietOption,
    WorkspaceOption,
    reports_errors,
    settings_from,
)
from spamgpt.stages.import_ import ImportSettings, run
from spamgpt.workspace import Workspace


@reports_errors
def command(
    source: Annotated[
        str,
        typer.Argument(
            help="A GPT-2 classifier of transformers (a folder or hf:owner/name[@revision]), a "
            ".spamgpt file, a saved folder, a notebook's state dictionary (.pth), or bundled.",
            show_default=False,
        ),
    ],
    labels: Annotated[
        str | None,
        typer.Option(
            help="Names of the labels in their order, separated by commas.",
            show_default="those of the source; for .pth: ham,spam",
        ),
    ] = ImportSettings.labels,
    model: Annotated[
        str | None,
        typer.Option(
            help="For .pth: the GPT-2 it was made from, such as gpt2 or a folder. Gives shape and "
            "tokenizer.",
            show_default="newest",
        ),
    ] = ImportSettings.model,
    padding: Annotated[
        str | None,
        typer.Option(
            metavar="none|N",
            help="For .pth: the number of tokens that the notebook padded messages to.",
            show_default="120, as published",
        ),
    ] = ImportSettings.padding,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    quiet: QuietOption = False,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Bring a classifier from transformers, a notebook or another machine into the workspace.

    spamgpt import spam-filter.spamgpt

    spamgpt import hf:owner/spam-filter --labels ham,spam

    spamgpt import review_classifier.pth --model gpt2

    It becomes a version like any other: evaluate, compare, predict, export and train it further.
    What a notebook saved is read as there, padded, and answers the same; a message longer than the
    padding is read in windows.
    """
    from spamgpt.cli.output.screen import ScreenReporter, show_json, show_result

    artifact = run(
        settings_from(ImportSettings, locals()), Workspace(workspace), ScreenReporter(quiet)
    )
    if json:
        show_json(artifact.summary)
        return
    told = artifact.metadata
    labels_told = ", ".join(told["labels"])
    if len(told["labels"]) == 2:
        labels_told += f"; threshold {told['threshold']:.4g}"
    show_result(
        [
            (artifact.reference, labels_told),
            ("from", told["origin"]),
            ("model", artifact.manifest["inputs"][0]["artifact"]),
        ]
    )
