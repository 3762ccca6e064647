"""finetune: swaps the head, freezes, trains, and keeps what training changed."""

from collections.abc import Callable, Mapping, Set
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spamgpt.errors import IntegrityError, MissingInputError
from spamgpt.evaluation.goals import MAX_FALSE_POSITIVE_RATE
from spamgpt.reporting import SILENT, Reporter
from spamgpt.stages.card import classifier_card
from spamgpt.stages.plan import FinetuneSettings, Plan, Select, as_published, plan, show_plan
from spamgpt.stages.start import Start, changed_tensors, keep_seen, load_start, read_splits
from spamgpt.workspace import Artifact, Draft, Workspace, result_settings

if TYPE_CHECKING:
    from torch import Tensor

    from spamgpt.evaluation.decision import FittedDecision
    from spamgpt.gpt2.ngrams import NGrams
    from spamgpt.training.checkpoint import Checkpoint
    from spamgpt.training.finetuning import EpochRecord, LabelledMessages
    from spamgpt.training.trainer import Trainer

__all__ = [
    "FinetuneSettings",
    "NotKept",
    "Plan",
    "Select",
    "as_published",
    "plan",
    "run",
    "show_plan",
]

STAGE = "finetune"


class NotKept(Exception):
    """What was trained was not to be kept, and is gone."""


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
    Started by torchrun, the processes train together; started again by it, they go on.
    Raises Interrupted, UsageError, MissingInputError, IntegrityError or BadDataError.
    """
    from spamgpt.training.checkpoint import Checkpoint
    from spamgpt.training.distributed import from_main, held_by_main, restarted

    if resume:
        names = asdict(settings).keys() if given is None else given
        return _resume(settings, names, workspace, reporter)
    if restarted():
        return run_or_go_on(settings, workspace, reporter)
    planned = from_main(lambda: plan(settings, workspace, reporter))
    record = _run_record(planned)
    with held_by_main(lambda: Checkpoint.start(workspace.root, STAGE, record)) as checkpoint:
        return _train(planned, workspace, reporter, checkpoint, None)


def run_or_go_on(
    settings: FinetuneSettings,
    workspace: Workspace,
    reporter: Reporter = SILENT,
    keep: Callable[[Path], bool] | None = None,
) -> Artifact:
    """Trains a classifier, from the checkpoint of the very same run if that was interrupted.

    `keep` is asked, when all else is done, whether the classifier in a folder becomes an artifact.
    Raises what `run` does, and NotKept.
    """
    from spamgpt.training.checkpoint import Checkpoint
    from spamgpt.training.distributed import from_main, held_by_main

    planned = from_main(lambda: plan(settings, workspace))
    record = _run_record(planned)
    with held_by_main(
        lambda: Checkpoint.start_or_resume(workspace.root, STAGE, record)
    ) as checkpoint:
        state = checkpoint.load() if checkpoint.is_resumable else None
        return _train(planned, workspace, reporter, checkpoint, state, keep)


def _resume(
    wanted: FinetuneSettings, names: Set[str], workspace: Workspace, reporter: Reporter
) -> Artifact:
    """Goes on with the last interrupted run that has the wanted values of the named settings."""
    from spamgpt.training.checkpoint import Checkpoint
    from spamgpt.training.distributed import from_main, held_by_main

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

    with held_by_main(lambda: Checkpoint.resume(workspace.root, STAGE, asked, fits)) as checkpoint:
        saved = checkpoint.record["settings"]
        planned = from_main(lambda: plan(replace(wanted, **saved), workspace))
        return _train(planned, workspace, reporter, checkpoint, checkpoint.load())


def _train(
    planned: Plan,
    workspace: Workspace,
    reporter: Reporter,
    checkpoint: "Checkpoint",
    state: dict[str, Any] | None,
    keep: Callable[[Path], bool] | None = None,
) -> Artifact:
    from spamgpt.device import resolve_device
    from spamgpt.evaluation.decision import fit_decision
    from spamgpt.training.distributed import check_device, from_main, held_by_main, is_main
    from spamgpt.training.finetuning import finetuning, history_rows
    from spamgpt.training.measuring import logits_together
    from spamgpt.training.ngrams import stored
    from spamgpt.training.sharding import whole

    settings = planned.settings
    if settings.recipe != planned.prepared.settings.get("recipe") and settings.recipe:
        reporter.warn(
            f"{planned.prepared.reference} was not prepared with `recipe={settings.recipe}`: its "
            "messages are split otherwise than in the published experiment."
        )
    device = resolve_device(settings.device)
    check_device(device)
    start = load_start(planned)
    model = start.model
    splits, config = read_splits(planned, start, device, workspace, reporter)
    validation = splits["validation"]
    planned.policy.apply(model, settings.seed)
    trainer = finetuning(
        model,
        planned.policy,
        planned.hyperparameters,
        splits["train"],
        validation,
        device,
        settings.precision,
        settings.shard,
        settings.checkpoint_activations,
    )
    if state is not None:
        trainer.load_state_dict(state)
    show_plan(planned, reporter)
    with held_by_main(
        lambda: workspace.new("classifiers", settings, inputs=planned.inputs)
    ) as draft:
        show = history_rows(reporter, planned.hyperparameters.epochs)
        again = "spamgpt finetune --resume" if keep is None else "spamgpt learn --train"
        trainer.train(checkpoint, reporter, show, f"Go on with: {again}")
        if len(trainer.history) < planned.hyperparameters.epochs:
            patience = planned.hyperparameters.patience
            reporter.note(f"Stopped: no better validation loss, `patience={patience}`.")
        tensors = trainer.trained_tensors()
        if planned.start:
            changed = start.changed | tensors.keys()
            tensors = whole(changed_tensors(model, planned.policy, changed))
        if planned.hyperparameters.ngrams:
            reporter.note("Fitting the linear model on n-grams")
            ngrams = from_main(lambda: _fit_ngrams(planned, start, splits["train"]))
            model.ngrams = ngrams.to(device)
            tensors |= stored(model.ngrams)
        logits = logits_together(model, validation.messages, device, trunk=validation.trunk)
        fitted = fit_decision(
            config,
            logits,
            validation.labels.numpy(),
            settings.threshold_for or "accuracy",
            settings.max_false_positive_rate or MAX_FALSE_POSITIVE_RATE,
        )
        _warn_of_threshold(fitted.record, reporter)
        if is_main():
            draft.metadata["device"] = str(device)
            _write(planned, trainer, tensors, fitted, model.gpt2.config.n_positions, draft)
            if keep is not None and not keep(draft.folder):
                checkpoint.remove()
                raise NotKept
    if is_main():
        checkpoint.remove()
    return from_main(lambda: draft.artifact)


def _fit_ngrams(planned: Plan, start: Start, training: "LabelledMessages") -> "NGrams":
    from spamgpt.training.ngrams import fit_ngrams, fit_ngrams_onward

    messages, labels = training.messages, training.labels
    if start.ngrams is not None:
        return fit_ngrams_onward(start.ngrams, messages, labels)
    return fit_ngrams(start.tokenizer.spellings, messages, labels, len(planned.labels))


def _write(
    planned: Plan,
    trainer: "Trainer[EpochRecord]",
    tensors: "dict[str, Tensor]",
    fitted: "FittedDecision",
    context: int,
    draft: Draft,
) -> None:
    """Puts what was trained, its record and its card into a draft."""
    import pandas as pd

    from spamgpt.classifier.config import CONFIG_FILE, TRAINED_FILE
    from spamgpt.data.seen import SEEN_FILE
    from spamgpt.evaluation.plots import draw_curves, draw_periodic
    from spamgpt.gpt2.folder import CARD_FILE
    from spamgpt.gpt2.weights import write_weights

    folder, kept = draft.folder, trainer.kept
    history = pd.DataFrame([asdict(record) for record in trainer.history])
    history.to_csv(folder / "history.csv", index=False, lineterminator="\n")
    draw_curves(history, kept.epoch, folder / "curves.png")
    if planned.settings.recipe:
        periodic = pd.DataFrame(trainer.state.periodic)
        periodic.to_csv(folder / "periodic.csv", index=False, lineterminator="\n")
        draw_periodic(periodic, planned.hyperparameters.epochs, folder / "periodic.png")
    write_weights(tensors, folder / TRAINED_FILE)
    fitted.config.write(folder / CONFIG_FILE)
    keep_seen(planned, folder / SEEN_FILE)
    card = classifier_card(planned, trainer, fitted, context)
    (folder / CARD_FILE).write_text(card, encoding="utf-8")
    scores = asdict(kept)
    draft.metadata.update(
        trained_parameters=planned.trained_parameters,
        all_parameters=planned.all_parameters,
        epochs=len(trainer.history),
        kept_epoch=scores.pop("epoch"),
        **scores,
        training_seconds=round(trainer.state.seconds, 3),
        calibration=fitted.record,
    )


def _warn_of_threshold(record: Mapping[str, Any], reporter: Reporter) -> None:
    """Says that a threshold which protects the other label lets little be caught, if so."""
    if record.get("threshold_for") == "false-positive-rate" and record["recall"] < 0.5:
        reporter.warn(
            f"The threshold catches only {record['recall']:.1%} of the {record['positive_label']}, "
            f"since at most {record['max_false_positive_rate']} of the {record['other_label']} may "
            "be lost. Allow more with `max_false_positive_rate`, or give `threshold_for=f1`."
        )


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
