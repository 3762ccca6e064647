"""spamgpt pretrain"""

from pathlib import Path
from typing import Annotated

import typer

from spamgpt.cli.options import (
    DEFAULT_WORKSPACE,
    DebugOption,
    DeviceOption,
    JsonOption,
    QuietOption,
    SeedOption,
    ThreadsOption,
    TrainingPrecisionOption,
    WorkspaceOption,
    given,
    reports_errors,
    settings_from,
)
from spamgpt.device import keep_freed_memory, set_threads
from spamgpt.errors import UsageError
from spamgpt.printable import counted
from spamgpt.stages.pretrain import NEW_NAME, PretrainSettings, StoredAs, run
from spamgpt.training.hyperparameters import PretrainingOptimizer
from spamgpt.training.schedule import PretrainingSchedule
from spamgpt.workspace import Workspace

# The shape of a new model; an existing one keeps its own.
_SHAPE = ("n_layer", "n_head", "n_embd", "n_positions", "vocab_size")


@reports_errors
def command(
    context: typer.Context,
    texts: Annotated[
        list[Path],
        typer.Argument(
            help="Files of text or tables (JSONL, CSV, TSV, Parquet, Excel), or folders of them."
        ),
    ],
    model: Annotated[
        str | None,
        typer.Option(help="Start from this model of the workspace.", show_default="from scratch"),
    ] = PretrainSettings.model,
    name: Annotated[
        str | None,
        typer.Option(
            help="Name of the new model.", show_default=f"that of --model, else {NEW_NAME}"
        ),
    ] = PretrainSettings.name,
    tokens: Annotated[
        int | None, typer.Option(min=1, help="Training budget in tokens.")
    ] = PretrainSettings.tokens,
    minutes: Annotated[
        float | None,
        typer.Option(min=0.01, help="Training budget in minutes (the result is not reproducible)."),
    ] = PretrainSettings.minutes,
    weight: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SOURCE=FACTOR",
            help="How many times each epoch goes through a source; 0 leaves it out. A source is "
            "named after its file, without extensions. Can be repeated.",
        ),
    ] = None,
    batch_tokens: Annotated[
        int, typer.Option(min=2, help="Batch size in tokens.")
    ] = PretrainSettings.batch_tokens,
    optimizer: Annotated[
        PretrainingOptimizer,
        typer.Option(help="muon: Muon for the matrices of the blocks, AdamW for the rest."),
    ] = PretrainSettings.optimizer,
    schedule: Annotated[
        PretrainingSchedule,
        typer.Option(
            help="Learning rate schedule. Both warm up; cosine then decays over the whole budget, "
            "trapezoid over its last fifth, so that an interrupted run can be resumed with a "
            "larger budget."
        ),
    ] = PretrainSettings.schedule,
    learning_rate: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Peak learning rate.",
            show_default="0.003 with muon, 0.001 with adamw",
        ),
    ] = PretrainSettings.learning_rate,
    weight_decay: Annotated[
        float, typer.Option(min=0, help="Weight decay of matrices and embeddings.")
    ] = PretrainSettings.weight_decay,
    held_out: Annotated[
        float,
        typer.Option(
            min=0.0001, max=0.5, help="Fraction of the documents held out for evaluation."
        ),
    ] = PretrainSettings.held_out,
    seed: SeedOption = PretrainSettings.seed,
    precision: TrainingPrecisionOption = PretrainSettings.precision,
    store_as: Annotated[
        StoredAs, typer.Option(help="Data type of the saved weights.")
    ] = PretrainSettings.store_as,
    n_layer: Annotated[
        int, typer.Option(min=1, help="Number of transformer blocks of a new model.")
    ] = PretrainSettings.n_layer,
    n_head: Annotated[
        int, typer.Option(min=1, help="Attention heads per block of a new model.")
    ] = PretrainSettings.n_head,
    n_embd: Annotated[
        int, typer.Option(min=1, help="Width of the hidden states of a new model.")
    ] = PretrainSettings.n_embd,
    n_positions: Annotated[
        int, typer.Option(min=2, help="Context length of a new model in tokens.")
    ] = PretrainSettings.n_positions,
    vocab_size: Annotated[
        int, typer.Option(min=258, help="Vocabulary size of a new model.")
    ] = PretrainSettings.vocab_size,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the interrupted run with these options.")
    ] = False,
    device: DeviceOption = PretrainSettings.device,
    threads: ThreadsOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    quiet: QuietOption = False,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Train a language model on unlabelled text, to be fine-tuned later.

    spamgpt pretrain texts/ --minutes 60

    spamgpt pretrain inbox.txt --model gpt2 --tokens 2000000 --learning-rate 5e-5

    Text files hold one document per line; JSONL, CSV, TSV, Parquet and Excel files hold one in each
    field "text". Ctrl-C saves a checkpoint; the same command with --resume continues from it.
    """
    set_threads(threads)
    keep_freed_memory()
    if model is not None and (shape := sorted(given(context) & set(_SHAPE))):
        options = ", ".join(f"--{name.replace('_', '-')}" for name in shape)
        raise UsageError(
            f"--model cannot be combined with {options}.", "An existing model keeps its shape."
        )
    from spamgpt.cli.output.screen import (
        ScreenReporter,
        show_json,
        show_result,
        warn_of_substitutions,
    )

    settings = settings_from(
        PretrainSettings,
        locals(),
        texts=tuple(map(str, texts)),
        weights=tuple(map(_weight, weight or ())),
    )
    reporter = ScreenReporter(quiet)
    artifact = run(settings, Workspace(workspace), reporter, resume)
    warn_of_substitutions(artifact, reporter)
    counts = artifact.metadata
    if json:
        show_json(artifact.summary)
        return
    show_result(
        [
            (
                artifact.reference,
                f"{counted(counts['n_layer'], 'block')}, {counted(counts['n_head'], 'head')}, "
                f"width {counts['n_embd']}",
            ),
            ("trained on", f"{counts['tokens']:,} tokens, {counts['epochs']:.2f} epochs"),
            ("held-out loss", f"{counts['held_out_loss']:.4f} nats a token"),
        ]
    )


def _weight(text: str) -> tuple[str, float]:
    source, _, factor = text.rpartition("=")
    try:
        value = float(factor)
    except ValueError:
        value = -1.0
    if not source or not 0 <= value < 1000:
        raise UsageError(f"--weight {text} is not SOURCE=FACTOR.", "For example: --weight chat=2.5")
    return source, value
