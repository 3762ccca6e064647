"""spamgpt finetune"""

from dataclasses import asdict
from typing import Annotated

import typer

from spamgpt.cli.options import (
    DEFAULT_WORKSPACE,
    DebugOption,
    DeviceOption,
    JsonOption,
    QuietOption,
    SeedOption,
    WorkspaceOption,
    reports_errors,
)
from spamgpt.stages.finetune import FinetuneSettings, Select, plan, run, show_plan
from spamgpt.workspace import Workspace


@reports_errors
def command(
    context: typer.Context,
    prepared: Annotated[
        str | None, typer.Option(help="Which prepared data (v1).", show_default="newest")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Which model (gpt2 or gpt2/v1).", show_default="newest")
    ] = None,
    unfreeze: Annotated[
        str,
        typer.Option(
            help="What is trained: head; last-block (with the final layer norm and the head); "
            "last-N-blocks; all."
        ),
    ] = FinetuneSettings.unfreeze,
    epochs: Annotated[
        int, typer.Option(min=1, help="Passes over the training split.")
    ] = FinetuneSettings.epochs,
    batch_size: Annotated[
        int, typer.Option(min=1, help="Messages a step.")
    ] = FinetuneSettings.batch_size,
    learning_rate: Annotated[
        float, typer.Option(min=0, help="AdamW's step size.")
    ] = FinetuneSettings.learning_rate,
    weight_decay: Annotated[
        float, typer.Option(min=0, help="AdamW's weight decay.")
    ] = FinetuneSettings.weight_decay,
    seed: SeedOption = FinetuneSettings.seed,
    select: Annotated[
        Select,
        typer.Option(help="Keep the epoch with the best validation loss, or the last."),
    ] = FinetuneSettings.select,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the interrupted run that was saved last.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would be trained.")
    ] = False,
    device: DeviceOption = FinetuneSettings.device,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    quiet: QuietOption = False,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Train a classifier: swap the head, freeze all but the last part, fine-tune.

    The defaults are the published recipe. Ctrl-C keeps what was learnt; --resume goes on from there
    and ends with the weights an uninterrupted run would have had.
    """
    from spamgpt.cli.screen import ScreenReporter, show_json, show_result, stdout_console

    settings = FinetuneSettings(
        prepared,
        model,
        unfreeze,
        epochs,
        batch_size,
        learning_rate,
        weight_decay,
        seed,
        select,
        device,
    )
    if dry_run:
        planned = plan(settings, Workspace(workspace))
        if json:
            show_json(
                {
                    "parts": [asdict(part) for part in planned.parts],
                    "trained_parameters": planned.trained_parameters,
                    "all_parameters": planned.all_parameters,
                }
            )
        else:
            show_plan(planned, ScreenReporter(console=stdout_console()))
        return
    given = {
        name
        for name in asdict(settings)
        if (source := context.get_parameter_source(name)) and source.name != "DEFAULT"
    }
    artifact = run(settings, Workspace(workspace), ScreenReporter(quiet), resume, given)
    counts = artifact.counts
    if json:
        show_json(artifact.as_input | counts)
        return
    show_result(
        [
            (
                artifact.reference,
                f"epoch {counts['kept_epoch']} of {artifact.settings['epochs']} kept",
            ),
            *(
                (
                    split,
                    f"loss {counts[f'{split}_loss']:.4f}, "
                    f"accuracy {counts[f'{split}_accuracy']:.2%}",
                )
                for split in ("training", "validation")
            ),
            ("from", " and ".join(entry["artifact"] for entry in artifact.manifest["inputs"])),
        ]
    )
