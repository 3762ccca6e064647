"""spamgpt fetch"""

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
from spamgpt.stages.fetch import FetchSettings, Weights, run
from spamgpt.workspace import Workspace


@reports_errors
def command(
    dataset: Annotated[
        str,
        typer.Option(
            help="sms-spam-collection, bundled-messages (written for spamgpt), a CSV, TSV or JSONL "
            "file (or the raw SMSSpamCollection), or a URL."
        ),
    ] = FetchSettings.dataset,
    model: Annotated[
        str,
        typer.Option(
            help="gpt2, gpt2-medium, gpt2-large, gpt2-xl, a folder, or hf:owner/name@revision."
        ),
    ] = FetchSettings.model,
    weights: Annotated[
        Weights,
        typer.Option(help="random: only the model's shape and tokenizer, with fresh weights."),
    ] = FetchSettings.weights,
    seed: SeedOption = FetchSettings.seed,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    quiet: QuietOption = False,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Bring a labelled data set and a pretrained GPT-2 into the workspace.

    Downloads are checked against published hashes; what the workspace or the Hugging Face cache
    has is not downloaded again. HF_ENDPOINT names a mirror of the Hub. A data file has the columns
    label and text (others are kept); other names are chosen in prepare.
    """
    from spamgpt.cli.screen import ScreenReporter, show_json, show_result

    settings = FetchSettings(dataset, model, weights, seed)
    messages, gpt2 = run(settings, Workspace(workspace), ScreenReporter(quiet))
    if json:
        show_json({"dataset": messages.as_input, "model": gpt2.as_input})
        return
    counts, shape = messages.counts, gpt2.counts
    labels = ", ".join(f"{count:,} {label}" for label, count in counts.get("labels", {}).items())
    show_result(
        [
            (
                messages.reference,
                f"{counts['messages']:,} messages" + (f": {labels}" if labels else ""),
            ),
            (
                gpt2.reference,
                f"{shape['n_layer']} blocks, {shape['n_head']} heads, width {shape['n_embd']}, "
                f"{shape['weights']} weights",
            ),
        ]
    )
