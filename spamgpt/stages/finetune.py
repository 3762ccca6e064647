"""finetune: swaps the head, freezes, trains, and keeps what training changed."""

from collections.abc import Mapping, Set
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spamgpt.errors import IntegrityError, MissingInputError
from spamgpt.reporting import SILENT, Reporter
from spamgpt.stages.plan import FinetuneSettings, Plan, Select, plan, show_plan
from spamgpt.workspace import Artifact, Workspace, library_versions, result_settings

if TYPE_CHECKING:
    import torch

    from spamgpt.classifier.config import ClassifierConfig
    from spamgpt.gpt2.model import GPT2
    from spamgpt.gpt2.tokenizer import Tokenizer
    from spamgpt.training.checkpoint import Checkpoint
    from spamgpt.training.finetuning import EpochRecord, LabelledMessages
    from spamgpt.training.trainer import Trainer

__all__ = ["FinetuneSettings", "Plan", "Select", "plan", "run", "show_plan"]

STAGE = "finetune"


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
        return _train(planned, workspace, reporter, checkpoint, None)


def _resume(
    wanted: FinetuneSettings, names: Set[str], workspace: Workspace, reporter: Reporter
) -> Artifact:
    """Goes on with the last interrupted run that has the wanted values of the named settings."""
    from spamgpt.training.checkpoint import Checkpoint

    values = asdict(wanted)
    if wanted.prepared is not None:
        values["prepared"] = workspace.newest("prepared", wanted.prepared).reference
    if wanted.model is not None:
        values["model"] = workspace.newest("models", wanted.model).reference
    asked = {name: values[name] for name in names}

    def fits(checkpoint: Checkpoint) -> bool:
        saved = checkpoint.record["settings"]
        if saved.keys() - values.keys():
            return False  # of another version of spamgpt
        if any(value not in (None, saved.get(name, value)) for name, value in asked.items()):
            return False
        try:
            planned = plan(replace(wanted, **saved), workspace)
        except (MissingInputError, IntegrityError):
            return False  # the data or the model is gone,
        return _run_record(planned) == checkpoint.record  # or not what it was

    with Checkpoint.resume(workspace.root, STAGE, asked, fits) as checkpoint:
        planned = plan(replace(wanted, **checkpoint.record["settings"]), workspace)
        return _train(planned, workspace, reporter, checkpoint, checkpoint.load())


def _train(
    planned: Plan,
    workspace: Workspace,
    reporter: Reporter,
    checkpoint: "Checkpoint",
    state: dict[str, Any] | None,
) -> Artifact:
    import pandas as pd

    from spamgpt.classifier.folder import CONFIG_FILE, TRAINED_FILE
    from spamgpt.classifier.inference import predict_logits
    from spamgpt.classifier.model import load_model
    from spamgpt.data.seen import SEEN_FILE
    from spamgpt.device import resolve_device
    from spamgpt.evaluation.decision import fit_decision
    from spamgpt.evaluation.plots import draw_curves
    from spamgpt.gpt2.classifier import GPT2Classifier
    from spamgpt.gpt2.folder import CARD_FILE
    from spamgpt.gpt2.weights import write_weights
    from spamgpt.training.finetuning import finetuning, history_rows

    settings = planned.settings
    device = resolve_device(settings.device)
    gpt2, tokenizer = load_model(planned.model)
    model = GPT2Classifier(
        gpt2, len(planned.labels), settings.seed, settings.pooling, settings.attention
    )
    splits, config = _read_splits(planned, gpt2, tokenizer, device, workspace, reporter)
    validation = splits["validation"]
    planned.policy.apply(model, settings.seed)
    trainer = finetuning(
        model, planned.policy, planned.hyperparameters, splits["train"], validation, device
    )
    if state is not None:
        trainer.load_state_dict(state)
    show_plan(planned, reporter)
    inputs = [planned.prepared, planned.model]
    with workspace.new("classifiers", settings, inputs=inputs) as draft:
        show = history_rows(reporter, planned.hyperparameters.epochs)
        trainer.train(checkpoint, reporter, show, "Go on with: spamgpt finetune --resume")
        kept = trainer.kept
        history = pd.DataFrame([asdict(record) for record in trainer.history])
        history.to_csv(draft.folder / "history.csv", index=False, lineterminator="\n")
        draw_curves(history, kept.epoch, draft.folder / "curves.png")
        write_weights(trainer.trained_tensors(), draft.folder / TRAINED_FILE)
        logits = predict_logits(model, validation.messages, device, trunk=validation.trunk)
        fitted = fit_decision(
            config, logits, validation.labels.numpy(), settings.max_false_positive_rate
        )
        config = fitted.config
        config.write(draft.folder / CONFIG_FILE)
        _keep_seen(planned.prepared, draft.folder / SEEN_FILE)
        card = _card(planned, trainer, config, fitted.scores, gpt2.config.n_positions)
        (draft.folder / CARD_FILE).write_text(card, encoding="utf-8")
        scores = asdict(kept)
        draft.metadata.update(
            trained_parameters=planned.trained_parameters,
            all_parameters=planned.all_parameters,
            kept_epoch=scores.pop("epoch"),
            **scores,
            calibration=fitted.record,
            device=str(device),
        )
    checkpoint.remove()
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
    trainer: "Trainer[EpochRecord]",
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
    shape = model.metadata
    return render_card(
        ClassifierCard(
            labels=config.labels,
            positive_label=config.positive_label,
            threshold=config.threshold,
            temperature=config.temperature,
            model=model.reference,
            model_origin=str(model.metadata.get("origin")),
            model_digest=model.digest,
            shape=f"{shape['n_layer']} blocks, {shape['n_head']} heads, width {shape['n_embd']}",
            license=licence,
            dataset=prepared.manifest["inputs"][0]["artifact"],
            prepared=prepared.reference,
            prepared_digest=prepared.digest,
            splits=prepared.metadata["splits"],
            settings={
                name: value
                for name, value in result_settings(planned.settings).items()
                if name not in ("prepared", "model")
            },
            trained_parameters=planned.trained_parameters,
            all_parameters=planned.all_parameters,
            history=trainer.history,
            kept_epoch=trainer.kept.epoch,
            validation=scores,
            context=config.padding or context,
            padded=config.pads,
            substitutions=[*prepared.substitutions, *model.substitutions],
            versions=library_versions(),
        )
    )


def _read_splits(
    planned: Plan,
    gpt2: "GPT2",
    tokenizer: "Tokenizer",
    device: "torch.device",
    workspace: Workspace,
    reporter: Reporter,
) -> "tuple[dict[str, LabelledMessages], ClassifierConfig]":
    """What is trained on and validated on, with what the frozen blocks give for it.

    Also what the classifier will be, its decisions not yet fitted: how it reads its messages.
    """
    from spamgpt.classifier.config import ClassifierConfig
    from spamgpt.device import resolve_precision
    from spamgpt.gpt2.folder import WEIGHTS_FILE
    from spamgpt.training.cache import ArrayCache
    from spamgpt.training.finetuning import read_split, with_trunks
    from spamgpt.training.trunk import TrunkSpecification
    from spamgpt.training.variants import padded_length

    settings, context = planned.settings, gpt2.config.n_positions
    splits = {
        name: read_split(planned.prepared.file(f"{name}.csv"), planned.labels, tokenizer, context)
        for name in ("train", "validation")
    }
    longest = max(map(len, splits["train"].messages.token_ids), default=1)
    config = ClassifierConfig(
        labels=planned.labels,
        positive_label=planned.positive_label,
        threshold=0.5,
        unfreeze=planned.policy.name,
        pooling=settings.pooling,
        attention=settings.attention,
        padding=padded_length(settings.padding, longest, context),
        lora=planned.policy.lora,
    )
    limit = config.padding or context
    if config.padding and not config.pads:
        reporter.note(
            f"Padding changes nothing: with `attention=causal` and `pooling={settings.pooling}` "
            f"the head reads no token that can see it. Messages are cut to {limit:,} tokens and "
            "not padded."
        )
    for name, split in splits.items():
        messages = split.messages.cut(limit)
        if cut := sum(messages.truncated):
            of_model = "" if config.padding else "the model's context of "
            reporter.warn(f"Messages of the {name} split cut to {of_model}{limit} tokens: {cut:,}.")
        splits[name] = replace(split, messages=config.read(messages, tokenizer.end_of_text))
    specification = TrunkSpecification(
        planned.model.digest,
        planned.policy.frozen_blocks,
        resolve_precision(settings.precision, device),
        device,
        settings.pooling,
    )
    cache_limit = None if settings.cache_limit is None else int(settings.cache_limit * 2**30)
    cache = ArrayCache(workspace.cache, cache_limit)
    weights = planned.model.file(WEIGHTS_FILE)
    return with_trunks(splits, gpt2, specification, cache, reporter, weights), config


def _run_record(planned: Plan) -> dict[str, Any]:
    """What makes two runs the same: all settings that change the result, and the inputs."""
    inputs = {"prepared": planned.prepared.reference, "model": planned.model.reference}
    return {
        "settings": result_settings(planned.settings) | inputs,
        "inputs": [planned.prepared.as_input, planned.model.as_input],
    }
