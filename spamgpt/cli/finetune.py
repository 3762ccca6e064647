"""spamgpt finetune"""

from dataclasses import asdict
from typing import Annotated

import typer

from spamgpt.cli.options import (
    DEFAULT_WORKSPACE,
    AttentionOption,
    BatchSizeOption,
    CacheLimitOption,
    DebugOption,
    DeviceOption,
    EpochsOption,
    JsonOption,
    LearningRateOption,
    LoraAlphaOption,
    LoraOption,
    LoraTargetsOption,
    MaxFalsePositiveRateOption,
    PaddingOption,
    PoolingOption,
    PositiveLabelOption,
    QuietOption,
    RecipeOption,
    ScheduleOption,
    SeedOption,
    SelectOption,
    ThreadsOption,
    ThresholdForOption,
    UnfreezeOption,
    WeightDecayOption,
    WorkspaceOption,
    given,
    reports_errors,
    settings_from,
)
from spamgpt.cli.training_options import (
    AccumulateOption,
    CheckpointActivationsOption,
    ClassWeightsOption,
    ClipOption,
    DropoutOption,
    FinetunePrecisionOption,
    LabelSmoothingOption,
    NgramsOption,
    PatienceOption,
    ShardOption,
    WarmupOption,
)
from spamgpt.device import keep_freed_memory, set_threads
from spamgpt.evaluation.goals import threshold_in_words
from spamgpt.stages.finetune import FinetuneSettings, as_published, plan, run, show_plan
from spamgpt.workspace import Artifact, Workspace


@reports_errors
def command(
    context: typer.Context,
    prepared: Annotated[
        str | None,
        typer.Option(help="Prepared data to train on, such as v1.", show_default="newest"),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="Pretrained model, such as gpt2 or gpt2/v1.", show_default="newest"),
    ] = None,
    start_from: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="CLASSIFIER",
            help="Train a classifier onward, such as v1: start from its weights and its head, and "
            "read messages as it does. The model and the labels have to be the same.",
            show_default="the model, with a new head",
        ),
    ] = None,
    unfreeze: UnfreezeOption = FinetuneSettings.unfreeze,
    epochs: EpochsOption = FinetuneSettings.epochs,
    batch_size: BatchSizeOption = FinetuneSettings.batch_size,
    learning_rate: LearningRateOption = FinetuneSettings.learning_rate,
    weight_decay: WeightDecayOption = FinetuneSettings.weight_decay,
    schedule: ScheduleOption = FinetuneSettings.schedule,
    warmup: WarmupOption = FinetuneSettings.warmup,
    accumulate: AccumulateOption = FinetuneSettings.accumulate,
    class_weights: ClassWeightsOption = FinetuneSettings.class_weights,
    clip: ClipOption = FinetuneSettings.clip,
    dropout: DropoutOption = FinetuneSettings.dropout,
    label_smoothing: LabelSmoothingOption = FinetuneSettings.label_smoothing,
    patience: PatienceOption = FinetuneSettings.patience,
    ngrams: NgramsOption = FinetuneSettings.ngrams,
    seed: SeedOption = FinetuneSettings.seed,
    select: SelectOption = FinetuneSettings.select,
    precision: FinetunePrecisionOption = FinetuneSettings.precision,
    pooling: PoolingOption = FinetuneSettings.pooling,
    padding: PaddingOption = FinetuneSettings.padding,
    attention: AttentionOption = FinetuneSettings.attention,
    lora_rank: LoraOption = FinetuneSettings.lora_rank,
    lora_alpha: LoraAlphaOption = FinetuneSettings.lora_alpha,
    lora_targets: LoraTargetsOption = FinetuneSettings.lora_targets,
    positive_label: PositiveLabelOption = FinetuneSettings.positive_label,
    threshold_for: ThresholdForOption = FinetuneSettings.threshold_for,
    max_false_positive_rate: MaxFalsePositiveRateOption = FinetuneSettings.max_false_positive_rate,
    recipe: RecipeOption = FinetuneSettings.recipe,
    cache_limit: CacheLimitOption = FinetuneSettings.cache_limit,
    shard: ShardOption = FinetuneSettings.shard,
    checkpoint_activations: CheckpointActivationsOption = FinetuneSettings.checkpoint_activations,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Continue the latest interrupted run with these options."),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be trained, then exit.")
    ] = False,
    device: DeviceOption = FinetuneSettings.device,
    threads: ThreadsOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    quiet: QuietOption = False,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Train a classifier: replace the head, freeze most blocks, train the rest.

    A model can recommend its own training options, as mini does; otherwise the defaults are those
    of the published recipe. Ctrl-C saves a checkpoint; --resume continues from it and gives the
    same weights as an uninterrupted run.

    torchrun --nproc-per-node 2 -m spamgpt finetune

    Started by torchrun, several processes train together and learn what one would learn.
    """
    set_threads(threads)
    keep_freed_memory()
    from spamgpt.cli.output.screen import (
        ScreenReporter,
        show_json,
        show_result,
        stdout_console,
        warn_of_substitutions,
    )

    settings = settings_from(FinetuneSettings, locals(), replay=None)
    if recipe:
        settings = as_published(settings, given(context))
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
    reporter = ScreenReporter(quiet)
    artifact = run(
        settings, Workspace(workspace), reporter, resume, given(context) & asdict(settings).keys()
    )
    warn_of_substitutions(artifact, reporter)
    if json:
        show_json(artifact.summary)
        return
    show_result(describe_classifier(artifact))


def describe_classifier(classifier: Artifact) -> list[tuple[str, str]]:
    """The epoch kept, its losses and accuracies, and what was trained from what."""
    counts = classifier.metadata
    return [
        (
            classifier.reference,
            f"epoch {counts['kept_epoch']} of {counts['epochs']} kept",
        ),
        *(
            (
                split,
                f"loss {counts[f'{split}_loss']:.4f}, accuracy {counts[f'{split}_accuracy']:.2%}",
            )
            for split in ("training", "validation")
        ),
        *_describe_calibration(classifier),
        ("from", " and ".join(entry["artifact"] for entry in classifier.manifest["inputs"])),
    ]


def _describe_calibration(classifier: Artifact) -> list[tuple[str, str]]:
    """What the validation split set; a classifier of an older version has none."""
    found = classifier.metadata.get("calibration")
    if found is None:
        return []
    temperature = (
        f"{found['temperature']:.3f}, calibration error {found['ece_before']:.4f} to "
        f"{found['ece']:.4f} (validation)"
    )
    if "threshold" not in found:
        return [("temperature", temperature)]
    chosen = f"{found['threshold']:.4g} {threshold_in_words(found)}"
    return [("temperature", temperature), ("threshold", chosen)]
