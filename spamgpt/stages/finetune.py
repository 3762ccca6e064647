"""finetune: swaps the head, freezes, trains, and keeps what training changed."""

import json
import math
import time
from collections.abc import Mapping, Set
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from spamgpt.device import Device, TrainingPrecision
from spamgpt.errors import BadDataError, IntegrityError, Interrupted, MissingInputError, UsageError
from spamgpt.reporting import SILENT, Reporter
from spamgpt.training.schedule import Schedule
from spamgpt.workspace import Artifact, Workspace, library_versions

if TYPE_CHECKING:
    import torch

    from spamgpt.classifier.config import ClassifierConfig
    from spamgpt.gpt2.classifier import GPT2Classifier
    from spamgpt.gpt2.tokenizer import Tokenizer
    from spamgpt.gpt2.unfreezing import Part
    from spamgpt.training.checkpoint import Checkpoint
    from spamgpt.training.loop import LabelledMessages, Recipe, Training

STAGE = "finetune"
# Seconds of training that a run which is killed may lose, beside the epoch under way.
_CHECKPOINT_INTERVAL = 10.0
_FINETUNING = 'Write, for example: {"last-block": {"epochs": 5, "learning_rate": 5e-5}}'
Select = Literal["best", "last"]


@dataclass(frozen=True)
class FinetuneSettings:
    """`prepared` and `model` are references; None takes the newest.

    Hyper-parameters that are None are those that the model recommends for what is trained, or else
    the published recipe's (`with_recommendations`). `select` keeps the epoch with the lowest
    validation loss ("best") or the final one ("last"). `max_ham_loss` (`0.5%`) is the share of
    validation messages not of the positive label that the threshold may give it; None takes the
    threshold of the best F1.
    """

    prepared: str | None = None
    model: str | None = None
    unfreeze: str = "last-block"
    epochs: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    weight_decay: float | None = None
    schedule: Schedule | None = None
    seed: int = 123
    select: Select = "best"
    precision: TrainingPrecision = "auto"
    max_ham_loss: str | None = None
    cache_limit: float | None = None
    device: Device = "auto"


# Raschka 2024, chapter 6.
PUBLISHED_RECIPE: Mapping[str, float | str] = {
    "epochs": 5,
    "batch_size": 8,
    "learning_rate": 5e-5,
    "weight_decay": 0.1,
    "schedule": "constant",
}


def with_recommendations(settings: FinetuneSettings, model: Artifact) -> FinetuneSettings:
    """The settings with every hyper-parameter filled in.

    A model's `finetuning.json` says what suits it, by what is trained: `head`, `last-block` (also
    for more blocks) or `all`. Raises BadDataError if it is not as it should be.
    """
    from spamgpt.gpt2.folder import FINETUNING_FILE

    recommended: dict[str, float | str] = {}
    if FINETUNING_FILE in model.files:
        path = model.file(FINETUNING_FILE)
        policy = settings.unfreeze if settings.unfreeze in ("head", "all") else "last-block"
        try:
            recommended = json.loads(path.read_text(encoding="utf-8")).get(policy, {})
            unknown = sorted(recommended.keys() - PUBLISHED_RECIPE.keys())
            unfit = unknown or [
                name for name, value in recommended.items() if not _fits(name, value)
            ]
        except (ValueError, AttributeError, TypeError) as error:
            raise BadDataError(f"{path} is not as it should be: {error}.", _FINETUNING) from error
        if unfit:
            raise BadDataError(f"{path} has an unfit {', '.join(unfit)}.", _FINETUNING)
    values = {**PUBLISHED_RECIPE, **recommended}
    missing: dict[str, Any] = {
        name: type(PUBLISHED_RECIPE[name])(value)
        for name, value in values.items()
        if getattr(settings, name) is None
    }
    return replace(settings, **missing)


def _fits(name: str, value: Any) -> bool:
    if name == "schedule":
        return value in get_args(Schedule)
    return bool(0 <= value < 1e6)


@dataclass(frozen=True)
class Plan:
    """What a fine-tuning would train: the parts of the classifier, and from what.

    `settings` are those asked for, with every hyper-parameter filled in.
    """

    settings: FinetuneSettings
    prepared: Artifact
    model: Artifact
    labels: list[str]
    parts: "list[Part]"

    @property
    def trained_parameters(self) -> int:
        return sum(part.parameters for part in self.parts if part.trained)

    @property
    def all_parameters(self) -> int:
        return sum(part.parameters for part in self.parts)


def plan(settings: FinetuneSettings, workspace: Workspace) -> Plan:
    """Finds the inputs and what would be trained, without reading the weights."""
    import torch

    from spamgpt.evaluation.thresholds import parse_share
    from spamgpt.gpt2.classifier import GPT2Classifier
    from spamgpt.gpt2.config import GPT2Config
    from spamgpt.gpt2.folder import CONFIG_FILE
    from spamgpt.gpt2.model import GPT2
    from spamgpt.gpt2.unfreezing import unfreeze

    prepared = workspace.newest("prepared", settings.prepared)
    model = workspace.newest("models", settings.model)
    labels = list(prepared.counts["labels"])
    config = GPT2Config.from_file(model.file(CONFIG_FILE))
    with torch.device("meta"):
        classifier = GPT2Classifier(GPT2(config), len(labels))
    try:
        parts = unfreeze(classifier, settings.unfreeze)
    except ValueError as error:
        raise UsageError(
            f"{error}.", "Use --unfreeze head, last-block, last-2-blocks (or another number), all."
        ) from error
    if settings.max_ham_loss is not None:
        parse_share(settings.max_ham_loss)
        if len(labels) > 2:
            raise UsageError(
                f"--max-ham-loss is for two labels; {prepared.reference} has {', '.join(labels)}.",
                "Leave it out: the most probable label is given.",
            )
    return Plan(with_recommendations(settings, model), prepared, model, labels, parts)


def show_plan(planned: Plan, reporter: Reporter) -> None:
    """The table of what is trained."""
    row = reporter.table("part           ", "tensors", "  parameters", "  share", "       ")
    for part in planned.parts:
        row(
            part.name,
            str(part.tensors),
            f"{part.parameters:,}",
            f"{part.parameters / planned.all_parameters:.2%}",
            "trained" if part.trained else "frozen",
        )
    settings = planned.settings
    reporter.note(
        f"Trains {planned.trained_parameters:,} of {planned.all_parameters:,} parameters "
        f"({planned.trained_parameters / planned.all_parameters:.2%}) for {settings.epochs} epochs "
        f"in batches of {settings.batch_size} at a learning rate of {settings.learning_rate:g}"
        + (", rising at first and falling to 0." if settings.schedule == "linear" else ".")
    )


def run(
    settings: FinetuneSettings,
    workspace: Workspace,
    reporter: Reporter = SILENT,
    resume: bool = False,
    given: Set[str] | None = None,
) -> Artifact:
    """Trains a classifier.

    Stopped by Ctrl-C or killed, it leaves a checkpoint from which `resume` goes on; `given` names
    the settings that the interrupted run must share (default: all), the others are taken from it.
    Raises Interrupted, UsageError, MissingInputError, IntegrityError or BadDataError.
    """
    from spamgpt.training.checkpoint import Checkpoint

    if resume:
        names = asdict(settings).keys() if given is None else given
        return _resume(settings, names, workspace, reporter)
    planned = plan(settings, workspace)
    with Checkpoint.start(workspace.root, STAGE, _run_record(planned)) as checkpoint:
        artifact = _train(planned, workspace, reporter, checkpoint, None)
        checkpoint.remove()
    return artifact


def _resume(
    wanted: FinetuneSettings, names: Set[str], workspace: Workspace, reporter: Reporter
) -> Artifact:
    """Goes on with the last interrupted run that has the wanted values of the named settings."""
    from filelock import Timeout

    from spamgpt.training.checkpoint import Checkpoint

    values = asdict(wanted)
    if wanted.prepared is not None:
        values["prepared"] = workspace.newest("prepared", wanted.prepared).reference
    if wanted.model is not None:
        values["model"] = workspace.newest("models", wanted.model).reference
    interrupted = Checkpoint.interrupted(workspace.root, STAGE)
    for checkpoint in interrupted:
        saved = checkpoint.record["settings"]
        if any(values[name] not in (None, saved[name]) for name in names if name in saved):
            continue
        settings = FinetuneSettings(**saved, device=wanted.device, cache_limit=wanted.cache_limit)
        # An older version knew fewer settings; it did what their defaults do.
        record = {**checkpoint.record, "settings": _recorded(FinetuneSettings()) | saved}
        try:
            planned = plan(settings, workspace)
        except (MissingInputError, IntegrityError):
            continue  # the data or the model is gone,
        if _run_record(planned) != record:
            continue  # or not what it was
        with suppress(Timeout), checkpoint.going_on():
            state = checkpoint.load()
            artifact = _train(planned, workspace, reporter, checkpoint, state)
            checkpoint.remove()
            return artifact
    if interrupted:
        saved = interrupted[0].record["settings"]
        options = " ".join(
            f"--{name.replace('_', '-')} {value}"
            for name, value in saved.items()
            if value is not None
        )
        raise MissingInputError(
            "No interrupted fine-tuning has these options and inputs.", f"The last has: {options}"
        )
    raise MissingInputError(
        f"There is no interrupted fine-tuning in {workspace.root}.", "Start one: spamgpt finetune"
    )


def _train(
    planned: Plan,
    workspace: Workspace,
    reporter: Reporter,
    checkpoint: "Checkpoint",
    state: dict[str, Any] | None,
) -> Artifact:
    import pandas as pd

    from spamgpt.classifier.config import ClassifierConfig, positive_label
    from spamgpt.classifier.folder import CONFIG_FILE, TRAINED_FILE
    from spamgpt.classifier.inference import predict_logits
    from spamgpt.classifier.model import load_model
    from spamgpt.data.seen import SEEN_FILE
    from spamgpt.device import resolve_device
    from spamgpt.evaluation.decision import fit_decision
    from spamgpt.evaluation.plots import draw_curves
    from spamgpt.gpt2.classifier import GPT2Classifier
    from spamgpt.gpt2.folder import CARD_FILE
    from spamgpt.gpt2.unfreezing import unfreeze
    from spamgpt.gpt2.weights import write_weights
    from spamgpt.training.interruption import stop_on_interrupt
    from spamgpt.training.loop import EpochRecord, Training, TrainingInterrupted

    settings = planned.settings
    device = resolve_device(settings.device)
    gpt2, tokenizer = load_model(planned.model)
    splits = _read_splits(planned, tokenizer, gpt2.config.n_positions, reporter)
    model = GPT2Classifier(gpt2, len(planned.labels), settings.seed)
    unfreeze(model, settings.unfreeze)
    recipe = _recipe(settings)
    splits = _with_trunk(splits, planned, model, device, workspace, reporter)
    training = Training(model, recipe, device)
    if state is not None:
        training.load_state_dict(state)
    inputs = [planned.prepared, planned.model]
    show_plan(planned, reporter)
    with workspace.new("classifiers", settings, inputs=inputs) as draft:
        row = reporter.table("epoch", "training loss", "accuracy", "validation loss", "accuracy")

        def show(record: EpochRecord) -> None:
            row(
                f"{record.epoch}/{settings.epochs}",
                f"{record.training_loss:.4f}",
                f"{record.training_accuracy:.2%}",
                f"{record.validation_loss:.4f}",
                f"{record.validation_accuracy:.2%}",
            )

        saved = -math.inf

        def after_epoch(record: EpochRecord) -> None:
            nonlocal saved
            show(record)
            # Also after the last: should the disk be full then, nothing has to be trained again.
            last = record.epoch == settings.epochs
            if last or time.monotonic() - saved > _CHECKPOINT_INTERVAL:
                checkpoint.save(training.state_dict())
                saved = time.monotonic()

        for record in training.history:
            show(record)
        try:
            with stop_on_interrupt(reporter.warn) as should_stop:
                training.run(
                    splits["train"], splits["validation"], reporter, after_epoch, should_stop
                )
        except TrainingInterrupted:
            checkpoint.save(training.state_dict())
            raise Interrupted(
                f"Stopped in epoch {len(training.history) + 1} of {settings.epochs}; "
                "what was learnt is kept.",
                "Go on with: spamgpt finetune --resume",
            ) from None
        history = pd.DataFrame([asdict(record) for record in training.history])
        history.to_csv(draft.folder / "history.csv", index=False, lineterminator="\n")
        draw_curves(history, training.kept_epoch, draft.folder / "curves.png")
        write_weights(training.trained_tensors(), draft.folder / TRAINED_FILE)
        validation = splits["validation"]
        logits = predict_logits(model, validation.messages, device, trunk=validation.trunk)
        untuned = ClassifierConfig(
            labels=planned.labels,
            positive_label=positive_label(planned.labels),
            threshold=0.5,
            unfreeze=settings.unfreeze,
        )
        fitted = fit_decision(untuned, logits, validation.labels.numpy(), settings.max_ham_loss)
        config = fitted.config
        config.write(draft.folder / CONFIG_FILE)
        _keep_seen(planned.prepared, draft.folder / SEEN_FILE)
        card = _card(planned, training, config, fitted.scores, gpt2.config.n_positions)
        (draft.folder / CARD_FILE).write_text(card, encoding="utf-8")
        draft.counts.update(
            trained_parameters=planned.trained_parameters,
            all_parameters=planned.all_parameters,
            kept_epoch=training.kept_epoch,
            **{
                name: value
                for name, value in asdict(training.history[training.kept_epoch - 1]).items()
                if name != "epoch"
            },
            calibration=fitted.record,
            device=str(device),
        )
    return draft.artifact


def _keep_seen(prepared: Artifact, path: Path) -> None:
    """The salt comes from the data, so that the same settings and inputs give the same bytes."""
    from spamgpt.data.rows import TEXT
    from spamgpt.data.seen import write_seen
    from spamgpt.data.tables import read_table

    salt = bytes.fromhex(prepared.digest)[:16]
    write_seen(read_table(prepared.file("train.csv"))[TEXT], salt, path)


def _card(
    planned: Plan,
    training: "Training",
    config: "ClassifierConfig",
    scores: Mapping[str, float],
    context: int,
) -> str:
    """The classifier's model card, from what this run has recorded."""
    from spamgpt.cards.classifier import ClassifierCard, license_of, render_card
    from spamgpt.gpt2.folder import CARD_FILE

    model, prepared = planned.model, planned.prepared
    licence = None
    if CARD_FILE in model.files:
        licence = license_of(model.file(CARD_FILE).read_text(encoding="utf-8", errors="replace"))
    shape = model.counts
    return render_card(
        ClassifierCard(
            labels=config.labels,
            positive_label=config.positive_label,
            threshold=config.threshold,
            temperature=config.temperature,
            model=model.reference,
            model_origin=str(model.counts.get("origin")),
            model_digest=model.digest,
            shape=f"{shape['n_layer']} blocks, {shape['n_head']} heads, width {shape['n_embd']}",
            license=licence,
            dataset=prepared.manifest["inputs"][0]["artifact"],
            prepared=prepared.reference,
            prepared_digest=prepared.digest,
            splits=prepared.counts["splits"],
            settings={
                name: value
                for name, value in asdict(planned.settings).items()
                if name not in ("prepared", "model", "cache_limit", "device")
            },
            trained_parameters=planned.trained_parameters,
            all_parameters=planned.all_parameters,
            history=training.history,
            kept_epoch=training.kept_epoch,
            validation=scores,
            context=context,
            substitutions=[*prepared.substitutions, *model.substitutions],
            versions=library_versions(),
        )
    )


def _recipe(settings: FinetuneSettings) -> "Recipe":
    from spamgpt.training.loop import Recipe

    assert settings.epochs is not None
    assert settings.batch_size is not None
    assert settings.learning_rate is not None
    assert settings.weight_decay is not None
    assert settings.schedule is not None
    return Recipe(
        settings.epochs,
        settings.batch_size,
        settings.learning_rate,
        settings.weight_decay,
        settings.seed,
        keep_best=settings.select == "best",
        schedule=settings.schedule,
    )


def _with_trunk(
    splits: "dict[str, LabelledMessages]",
    planned: Plan,
    model: "GPT2Classifier",
    device: "torch.device",
    workspace: Workspace,
    reporter: Reporter,
) -> "dict[str, LabelledMessages]":
    """The splits with what the frozen blocks give for them, if there are any and it fits."""
    from spamgpt.device import resolve_precision
    from spamgpt.gpt2.folder import WEIGHTS_FILE
    from spamgpt.gpt2.unfreezing import trained_blocks
    from spamgpt.training.cache import ArrayCache
    from spamgpt.training.trunk import TrunkSpecification, run_trunk

    settings, n_layer = planned.settings, model.gpt2.config.n_layer
    depth = n_layer - trained_blocks(settings.unfreeze, n_layer)
    if depth == 0:
        return splits
    limit = None if settings.cache_limit is None else int(settings.cache_limit * 2**30)
    trunks = run_trunk(
        model.gpt2.to(device),
        TrunkSpecification(
            planned.model.digest, depth, resolve_precision(settings.precision, device), device
        ),
        {name: split.messages for name, split in splits.items()},
        ArrayCache(workspace.cache, limit),
        reporter,
        planned.model.file(WEIGHTS_FILE),
    )
    if trunks is None:
        reporter.note("The cache is too small for the frozen blocks' output: they run every epoch.")
        return splits
    return {name: replace(split, trunk=trunks[name]) for name, split in splits.items()}


def _read_splits(
    planned: Plan, tokenizer: "Tokenizer", context: int, reporter: Reporter
) -> "dict[str, LabelledMessages]":
    import torch

    from spamgpt.data.batches import tokenize
    from spamgpt.data.rows import LABEL, TEXT
    from spamgpt.data.tables import read_table
    from spamgpt.training.loop import LabelledMessages

    splits = {}
    for name in ("train", "validation"):
        table = read_table(planned.prepared.file(f"{name}.csv"))
        messages = tokenize(list(table[TEXT]), tokenizer, context)
        if any(messages.truncated):
            reporter.warn(
                f"Longer than the model's {context} tokens, and trained on by their first "
                f"{context}: {sum(messages.truncated):,} of the {name} split."
            )
        indices = [planned.labels.index(label) for label in table[LABEL]]
        splits[name] = LabelledMessages(messages, torch.tensor(indices))
    return splits


def _run_record(planned: Plan) -> dict[str, Any]:
    """What makes two runs the same: all settings but the device, and the inputs."""
    values = _recorded(planned.settings)
    values.update(prepared=planned.prepared.reference, model=planned.model.reference)
    return {
        "settings": values,
        "inputs": [planned.prepared.as_input, planned.model.as_input],
    }


def _recorded(settings: FinetuneSettings) -> dict[str, Any]:
    """The settings that change what a run makes."""
    values = asdict(settings)
    del values["device"], values["cache_limit"]
    return values
