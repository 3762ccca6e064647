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
    reports_errors,
    settings_from,
)
from spamgpt.device import set_threads
from spamgpt.errors import UsageError
from spamgpt.stages.pretrain import PretrainSettings, Size, StoredAs, run
from spamgpt.workspace import Workspace

_NEW = "Shape of a new model"


@reports_errors
def command(
    texts: Annotated[
        list[Path],
        typer.Argument(help="Text, JSONL or CSV files, plain or gzip, or folders of them."),
    ],
    model: Annotated[
        str | None,
        typer.Option(help="Go on from this model of the workspace.", show_default="from scratch"),
    ] = None,
    size: Annotated[
        Size, typer.Option(help="The size of a new model: the defaults of its shape.")
    ] = "mini",
    name: Annotated[
        str | None, typer.Option(help="What to call the model.", show_default="the size's, model's")
    ] = None,
    tokens: Annotated[
        int | None, typer.Option(min=1, help="Budget: how many tokens to train on.")
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(min=0.01, help="Budget: how long to train (not repeatable).")
    ] = None,
    weight: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SOURCE=FACTOR",
            help="Go through a source (a file's name without endings) so often an epoch; 0: never.",
        ),
    ] = None,
    batch_tokens: Annotated[
        int, typer.Option(min=2, help="Tokens a step.")
    ] = PretrainSettings.batch_tokens,
    learning_rate: Annotated[
        float, typer.Option(min=0, help="AdamW's highest step size.")
    ] = PretrainSettings.learning_rate,
    weight_decay: Annotated[
        float, typer.Option(min=0, help="AdamW's weight decay, for matrices.")
    ] = PretrainSettings.weight_decay,
    held_out: Annotated[
        float, typer.Option(min=0.0001, max=0.5, help="Share of documents kept for measuring.")
    ] = PretrainSettings.held_out,
    seed: SeedOption = PretrainSettings.seed,
    precision: TrainingPrecisionOption = PretrainSettings.precision,
    store_as: Annotated[
        StoredAs, typer.Option(help="Numbers in the model's file.")
    ] = PretrainSettings.store_as,
    layers: Annotated[
        int, typer.Option(min=1, help="Blocks.", rich_help_panel=_NEW)
    ] = PretrainSettings.layers,
    heads: Annotated[
        int, typer.Option(min=1, help="Attention heads.", rich_help_panel=_NEW)
    ] = PretrainSettings.heads,
    width: Annotated[
        int, typer.Option(min=1, help="Width of the hidden states.", rich_help_panel=_NEW)
    ] = PretrainSettings.width,
    context: Annotated[
        int, typer.Option(min=2, help="Context length in tokens.", rich_help_panel=_NEW)
    ] = PretrainSettings.context,
    vocabulary: Annotated[
        int, typer.Option(min=258, help="Tokens of the vocabulary.", rich_help_panel=_NEW)
    ] = PretrainSettings.vocabulary,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the interrupted run of these options.")
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

    Text files hold a document a line, JSONL and CSV files one in each `text`. Ctrl-C keeps what was
    learnt; the same command with --resume goes on.
    """
    set_threads(threads)
    from spamgpt.cli.output.screen import (
        ScreenReporter,
        show_json,
        show_result,
        warn_of_substitutions,
    )

    if width % heads:
        raise UsageError(f"--width {width} is not a multiple of --heads {heads}.", "Choose others.")
    settings = settings_from(
        PretrainSettings,
        locals(),
        texts=tuple(map(str, texts)),
        weights=tuple(map(_weight, weight or ())),
        name=name or (None if model else size),
    )
    reporter = ScreenReporter(quiet)
    artifact = run(settings, Workspace(workspace), reporter, resume)
    warn_of_substitutions(artifact, reporter)
    counts = artifact.counts
    if json:
        show_json(artifact.summary)
        return
    show_result(
        [
            (
                artifact.reference,
                f"{counts['n_layer']} blocks, {counts['n_head']} heads, width {counts['n_embd']}",
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
