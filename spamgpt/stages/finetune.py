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
from spamgpt.stages.start import changed_tensors, keep_seen, load_start, read_splits
from spamgpt.workspace import Artifact, Workspace, result_settings

if TYPE_CHECKING:
    from spamgpt.training.checkpoint import Checkpoint

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
    Raises Interrupted, UsageError, MissingInputError, IntegrityError or BadDataError.
    """
    from spamgpt.training.checkpoint import Checkpoint

    if resume:
        names = asdict(settings).keys() if given is None else given
        return _resume(settings, names, workspace, reporter)
    planned = plan(settings, workspace, reporter)
    with Checkpoint.start(workspace.root, STAGE, _run_record(planned)) as checkpoint:
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

    planned = plan(settings, workspace)
    record = _run_record(planned)

    def fits(checkpoint: Checkpoint) -> bool:
        return checkpoint.record == record

    if not any(map(fits, Checkpoint.interrupted(workspace.root, STAGE))):
        with Checkpoint.start(workspace.root, STAGE, record) as checkpoint:
            return _train(planned, workspace, reporter, checkpoint, None, keep)
    with Checkpoint.resume(workspace.root, STAGE, {}, fits) as checkpoint:
        return _train(planned, workspace, reporter, checkpoint, checkpoint.load(), keep)


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
    keep: Callable[[Path], bool] | None = None,
) -> Artifact:
    import pandas as pd

    from spamgpt.classifier.config import CONFIG_FILE, TRAINED_FILE
    from spamgpt.classifier.inference import predict_logits
    from spamgpt.data.seen import SEEN_FILE
    from spamgpt.device import resolve_device
    from spamgpt.evaluation.decision import fit_decision
    from spamgpt.evaluation.plots import draw_curves, draw_periodic
    from spamgpt.gpt2.folder import CARD_FILE
    from spamgpt.gpt2.weights import write_weights
    from spamgpt.training.finetuning import finetuning, history_rows
    from spamgpt.training.ngrams import fit_ngrams, fit_ngrams_onward, stored

    settings = planned.settings
    if settings.recipe != planned.prepared.settings.get("recipe") and settings.recipe:
        reporter.warn(
            f"{planned.prepared.reference} was not prepared with `recipe={settings.recipe}`: its "
            "messages are split otherwise than in the published experiment."
        )
    device = resolve_device(settings.device)
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
        bfloat16=settings.precision == "bf16",
    )
    if state is not None:
        trainer.load_state_dict(state)
    show_plan(planned, reporter)
    with workspace.new("classifiers", settings, inputs=planned.inputs) as draft:
        show = history_rows(reporter, planned.hyperparameters.epochs)
        again = "spamgpt finetune --resume" if keep is None else "spamgpt learn --train"
        trainer.train(checkpoint, reporter, show, f"Go on with: {again}")
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
            messages, labels = splits["train"].messages, splits["train"].labels
            if start.ngrams is None:
                spellings = start.tokenizer.spellings
                ngrams = fit_ngrams(spellings, messages, labels, len(planned.labels))
            else:
                ngrams = fit_ngrams_onward(start.ngrams, messages, labels)
            model.ngrams = ngrams.to(device)
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
        card = classifier_card(planned, trainer, fitted, model.gpt2.config.n_positions)
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
        if keep is not None and not keep(draft.folder):
            checkpoint.remove()
            raise NotKept
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
