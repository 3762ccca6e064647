"""spamgpt run"""

from typing import Any

import typer

from spamgpt.cli.dataset_options import (
    DatasetOption,
    EncodingOption,
    HamOption,
    LabelledOption,
    SpamOption,
    labelled_from,
)
from spamgpt.cli.options import (
    DEFAULT_WORKSPACE,
    AttentionOption,
    BalanceOption,
    BatchSizeOption,
    CacheLimitOption,
    CorrectionsOption,
    DebugOption,
    DeviceOption,
    EpochsOption,
    JsonOption,
    KeepDuplicatesOption,
    LabelColumnOption,
    LearningRateOption,
    LoraAlphaOption,
    LoraOption,
    LoraTargetsOption,
    MaxFalsePositiveRateOption,
    ModelOption,
    OfflineOption,
    PaddingOption,
    PoolingOption,
    PositiveLabelOption,
    QuietOption,
    RecipeOption,
    ScheduleOption,
    SeedOption,
    SelectOption,
    SplitOption,
    StratifyOption,
    TextColumnOption,
    ThreadsOption,
    ThresholdForOption,
    UnfreezeOption,
    WeightDecayOption,
    WeightsOption,
    WorkspaceOption,
    given,
    in_its_workspace,
    reports_errors,
    settings_from,
)
from spamgpt.cli.training_options import (
    AccumulateOption,
    ClassWeightsOption,
    ClipOption,
    DropoutOption,
    FinetunePrecisionOption,
    LabelSmoothingOption,
    NgramsOption,
    PatienceOption,
    WarmupOption,
)
from spamgpt.device import keep_freed_memory, set_threads
from spamgpt.reporting import Reporter
from spamgpt.stages.evaluate import EvaluateSettings, read_evaluation
from spamgpt.stages.fetch import FetchSettings
from spamgpt.stages.finetune import FinetuneSettings, as_published
from spamgpt.stages.pipeline import PipelineSettings, Step, run
from spamgpt.stages.prepare import PrepareSettings
from spamgpt.workspace import Artifact, Workspace

# How many messages of each label are shown with their answers.
_SHOWN = 2


@reports_errors
def command(
    context: typer.Context,
    dataset: DatasetOption = None,
    spam: SpamOption = None,
    ham: HamOption = None,
    labelled: LabelledOption = None,
    encoding: EncodingOption = FetchSettings.encoding,
    model: ModelOption = None,
    weights: WeightsOption = FetchSettings.weights,
    offline: OfflineOption = FetchSettings.offline,
    balance: BalanceOption = PrepareSettings.balance,
    split: SplitOption = PrepareSettings.split,
    keep_duplicates: KeepDuplicatesOption = PrepareSettings.keep_duplicates,
    stratify: StratifyOption = PrepareSettings.stratify,
    text_column: TextColumnOption = PrepareSettings.text_column,
    label_column: LabelColumnOption = PrepareSettings.label_column,
    corrections: CorrectionsOption = PrepareSettings.corrections,
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
    seed: SeedOption = FinetuneSettings.seed,
    device: DeviceOption = FinetuneSettings.device,
    threads: ThreadsOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    quiet: QuietOption = False,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Run all stages (fetch, prepare, finetune, evaluate) and show a few predictions.

    spamgpt run --offline

    spamgpt run --dataset tickets.csv --label-column queue --unfreeze all

    A stage is skipped if its result from the same settings and inputs already exists. All stages
    use the same seed.
    """
    set_threads(threads)
    keep_freed_memory()
    from spamgpt.cli.output.screen import ScreenReporter, show_json, warn_of_substitutions

    finetune = settings_from(
        FinetuneSettings,
        locals(),
        prepared=None,
        model=None,
        start_from=None,
        replay=None,
        shard=False,
        checkpoint_activations=False,
    )
    if recipe:
        finetune = as_published(finetune, given(context))
    settings = PipelineSettings(
        settings_from(FetchSettings, locals(), labelled=labelled_from(spam, ham, labelled)),
        settings_from(PrepareSettings, locals(), dataset=None),
        finetune,
        EvaluateSettings(precision=precision, device=device),
    )
    reporter = ScreenReporter(quiet)
    steps: list[Step] = []
    for step in run(settings, Workspace(workspace), reporter):
        if not json:
            if steps and not step.skipped:
                print()
            _show(step, reporter)
        steps.append(step)
    if json:
        show_json({step.stage: _summary(step) for step in steps})
        return
    warn_of_substitutions(steps[-1].artifact, reporter)
    if all(step.skipped for step in steps):
        done = "Nothing was left to do. Score messages with: spamgpt predict"
        reporter.note(in_its_workspace(done, workspace))
        return
    print()
    _show_predictions(steps[-1].artifact)
    own = "Score your own: echo 'see you at 7?' | spamgpt predict"
    reporter.note(in_its_workspace(own, workspace))


def _show(step: Step, reporter: Reporter) -> None:
    from spamgpt.cli.fetch import describe_dataset, describe_model
    from spamgpt.cli.finetune import describe_classifier
    from spamgpt.cli.output.scores import show_metrics, tell_report
    from spamgpt.cli.output.screen import show_result
    from spamgpt.cli.prepare import describe_prepared

    if step.skipped:
        names = " and ".join(artifact.reference for artifact in step.artifacts)
        show_result([(f"{step.stage}: skipped", f"{names}: {step.skipped}")])
    match step.stage:
        case "evaluate":
            show_metrics(step.artifact, read_evaluation(step.artifact))
            tell_report(step.artifact, reporter)
        case _ if step.skipped:
            pass
        case "fetch":
            dataset, model = step.artifacts
            show_result([describe_dataset(dataset), describe_model(model)])
        case "prepare":
            show_result(describe_prepared(step.artifact))
        case "finetune":
            show_result(describe_classifier(step.artifact))


def _summary(step: Step) -> dict[str, Any]:
    summaries: dict[str, Any] = {
        artifact.reference.split("/")[0]: artifact.summary for artifact in step.artifacts
    }
    if step.stage == "evaluate":
        summaries["metrics"] = read_evaluation(step.artifact).to_dict()
    return {"skipped": step.skipped, **summaries}


def _show_predictions(evaluation: Artifact) -> None:
    """A few messages that the evaluation scored, with their answers."""
    from spamgpt.cli.output.answers import table_writer
    from spamgpt.data.rows import LABEL, TEXT
    from spamgpt.data.tables import read_table

    scored = read_table(evaluation.file("predictions.csv"))
    show = table_writer()
    for _, row in scored.groupby(LABEL).head(_SHOWN).iterrows():
        show(row["predicted"], float(row[f"probability_{row['predicted']}"]), row[TEXT])
