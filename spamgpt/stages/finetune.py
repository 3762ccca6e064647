"""finetune: swaps the head, freezes, trains, and keeps what training changed."""

from collections.abc import Mapping, Set
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from spamgpt.errors import IntegrityError, MissingInputError
from spamgpt.evaluation.goals import MAX_FALSE_POSITIVE_RATE
from spamgpt.reporting import SILENT, Reporter
from spamgpt.stages.plan import FinetuneSettings, Plan, Select, as_published, plan, show_plan
from spamgpt.stages.start import Start, changed_tensors, keep_seen, load_start
from spamgpt.workspace import Artifact, Workspace, library_versions, result_settings

if TYPE_CHECKING:
    import torch

    from spamgpt.classifier.config import ClassifierConfig
    from spamgpt.evaluation.decision import FittedDecision
    from spamgpt.training.checkpoint import Checkpoint
    from spamgpt.training.finetuning import EpochRecord, LabelledMessages
    from spamgpt.training.trainer import Trainer

__all__ = ["FinetuneSettings", "Plan", "Select", "as_published", "plan", "run", "show_plan"]

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


def run_or_go_on(
    settings: FinetuneSettings, workspace: Workspace, reporter: Reporter = SILENT
) -> Artifact:
    """Trains a classifier, from the checkpoint of the very same run if that was interrupted.

    Raises what `run` does.
    """
    from spamgpt.training.checkpoint import Checkpoint

    record = _run_record(plan(settings, workspace))

    def fits(checkpoint: Checkpoint) -> bool:
        return checkpoint.record == record

    if not any(map(fits, Checkpoint.interrupted(workspace.root, STAGE))):
        return run(settings, workspace, reporter)
    with Checkpoint.resume(workspace.root, STAGE, {}, fits) as checkpoint:
        planned = plan(settings, workspace)
        return _train(planned, workspace, reporter, checkpoint, checkpoint.load())


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
    if wanted.start_from is not None:
        values["start_from"] = workspace.newest("classifiers", wanted.start_from).reference
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
    from spamgpt.data.seen import SEEN_FILE
    from spamgpt.device import resolve_device
    from spamgpt.evaluation.decision import fit_decision
    from spamgpt.evaluation.plots import draw_curves, draw_periodic
    from spamgpt.gpt2.folder import CARD_FILE
    from spamgpt.gpt2.weights import write_weights
    from spamgpt.training.finetuning import finetuning, history_rows
    from spamgpt.training.ngrams import fit_ngrams, stored

    settings = planned.settings
    if settings.recipe != planned.prepared.settings.get("recipe") and settings.recipe:
        reporter.warn(
            f"{planned.prepared.reference} was not prepared with `recipe={settings.recipe}`: its "
            "messages are split otherwise than in the published experiment."
        )
    device = resolve_device(settings.device)
    start = load_start(planned)
    model = start.model
    splits, config = _read_splits(planned, start, device, workspace, reporter)
    validation = splits["validation"]
    planned.policy.apply(model, settings.seed)
    trainer = finetuning(
        model,
        planned.policy,
        planned.hyperparameters,
        splits["train"],
        validation,
        device,
        bfloat16=settings.precision == "bf16",
    )
    if state is not None:
        trainer.load_state_dict(state)
    show_plan(planned, reporter)
    with workspace.new("classifiers", settings, inputs=planned.inputs) as draft:
        show = history_rows(reporter, planned.hyperparameters.epochs)
        trainer.train(checkpoint, reporter, show, "Go on with: spamgpt finetune --resume")
        kept = trainer.kept
        if len(trainer.history) < planned.hyperparameters.epochs:
            patience = planned.hyperparameters.patience
            reporter.note(f"Stopped: no better validation loss, `patience={patience}`.")
        history = pd.DataFrame([asdict(record) for record in trainer.history])
        history.to_csv(draft.folder / "history.csv", index=False, lineterminator="\n")
        draw_curves(history, kept.epoch, draft.folder / "curves.png")
        if settings.recipe:
            periodic = pd.DataFrame(trainer.state.periodic)
            periodic.to_csv(draft.folder / "periodic.csv", index=False, lineterminator="\n")
            draw_periodic(periodic, planned.hyperparameters.epochs, draft.folder / "periodic.png")
        tensors = trainer.trained_tensors()
        if planned.start:
            tensors = changed_tensors(model, planned.policy, start.changed | tensors.keys())
        if planned.hyperparameters.ngrams:
            reporter.note("Fitting the linear model on n-grams")
            model.ngrams = fit_ngrams(
                start.tokenizer.spellings,
                splits["train"].messages,
                splits["train"].labels,
                len(planned.labels),
            ).to(device)
            tensors |= stored(model.ngrams)
        write_weights(tensors, draft.folder / TRAINED_FILE)
        logits = predict_logits(model, validation.messages, device, trunk=validation.trunk)
        fitted = fit_decision(
            config,
            logits,
            validation.labels.numpy(),
            settings.threshold_for or "accuracy",
            settings.max_false_positive_rate or MAX_FALSE_POSITIVE_RATE,
        )
        config = fitted.config
        _warn_of_threshold(fitted.record, reporter)
        config.write(draft.folder / CONFIG_FILE)
        keep_seen(planned, draft.folder / SEEN_FILE)
        card = _card(planned, trainer, fitted, model.gpt2.config.n_positions)
        (draft.folder / CARD_FILE).write_text(card, encoding="utf-8")
        scores = asdict(kept)
        draft.metadata.update(
            trained_parameters=planned.trained_parameters,
            all_parameters=planned.all_parameters,
            epochs=len(trainer.history),
            kept_epoch=scores.pop("epoch"),
            **scores,
            calibration=fitted.record,
            device=str(device),
        )
    checkpoint.remove()
    return draft.artifact


def _warn_of_threshold(record: Mapping[str, Any], reporter: Reporter) -> None:
    """Says that a threshold which protects the other label lets little be caught, if so."""
    if record.get("threshold_for") == "false-positive-rate" and record["recall"] < 0.5:
        reporter.warn(
            f"The threshold catches only {record['recall']:.1%} of the {record['positive_label']}, "
            f"since at most {record['max_false_positive_rate']} of the {record['other_label']} may "
            "be lost. Allow more with `max_false_positive_rate`, or give `threshold_for=f1`."
        )


def _card(
    planned: Plan,
    trainer: "Trainer[EpochRecord]",
    fitted: "FittedDecision",
    context: int,
) -> str:
    """The classifier's model card, from what this run has recorded."""
    from spamgpt.cards.classifier import ClassifierCard, license_of, render_card
    from spamgpt.evaluation.goals import threshold_in_words
    from spamgpt.gpt2.folder import CARD_FILE

    model, prepared, config = planned.model, planned.prepared, fitted.config
    licence = None
    if CARD_FILE in model.files:
        licence = license_of(model.file(CARD_FILE).read_text(encoding="utf-8", errors="replace"))
    shape = model.metadata
    return render_card(
        ClassifierCard(
            labels=config.labels,
            positive_label=config.positive_label,
            threshold=config.threshold,
            threshold_choice=(
                threshold_in_words(fitted.record) if len(config.labels) == 2 else None
            ),
            temperature=config.temperature,
            model=model.reference,
            model_origin=str(model.metadata.get("origin")),
            model_digest=model.digest,
            shape=f"{shape['n_layer']} blocks, {shape['n_head']} heads, width {shape['n_embd']}",
            license=licence,
            start=(planned.start.reference, planned.start.digest) if planned.start else None,
            dataset=prepared.manifest["inputs"][0]["artifact"],
            prepared=prepared.reference,
            prepared_digest=prepared.digest,
            splits=prepared.metadata["splits"],
            settings={
                name: value
                for name, value in result_settings(planned.settings).items()
                if name not in ("prepared", "model", "start_from")
            },
            trained_parameters=planned.trained_parameters,
            all_parameters=planned.all_parameters,
            history=trainer.history,
            kept_epoch=trainer.kept.epoch,
            validation=fitted.scores,
            context=config.padding or context,
            padded=config.pads,
            ngrams=config.ngrams,
            substitutions=list(
                dict.fromkeys(text for each in planned.inputs for text in each.substitutions)
            ),
            versions=library_versions(),
        )
    )


def _read_splits(
    planned: Plan,
    start: Start,
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

    settings, gpt2, tokenizer = planned.settings, start.model.gpt2, start.tokenizer
    context = gpt2.config.n_positions
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
        ngrams=planned.hyperparameters.ngrams,
        # Adapters on a classifier that was trained before are merged into it.
        lora=None if planned.start else planned.policy.lora,
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
        start.trunk_digest,
        planned.policy.frozen_blocks,
        resolve_precision(settings.precision, device),
        device,
        settings.pooling,
    )
    cache_limit = None if settings.cache_limit is None else int(settings.cache_limit * 2**30)
    cache = ArrayCache(workspace.cache, cache_limit)
    weights = planned.model.file(WEIGHTS_FILE) if start.pretrained_trunk else None
    return with_trunks(splits, gpt2, specification, cache, reporter, weights), config


def _run_record(planned: Plan) -> dict[str, Any]:
    """What makes two runs the same: all settings that change the result, and the inputs."""
    named = dict(
        zip(
            ("prepared", "model", "start_from"),
            (artifact.reference for artifact in planned.inputs),
            strict=False,
        )
    )
    return {
        "settings": result_settings(planned.settings) | named,
        "inputs": [artifact.as_input for artifact in planned.inputs],
    }
