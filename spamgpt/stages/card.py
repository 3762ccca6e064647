"""The model card of a fine-tuned classifier, from the plan of its run and what it recorded."""

from typing import TYPE_CHECKING

from spamgpt.printable import counted
from spamgpt.stages.plan import Plan
from spamgpt.workspace import library_versions, result_settings

if TYPE_CHECKING:
    from spamgpt.evaluation.decision import FittedDecision
    from spamgpt.training.finetuning import EpochRecord
    from spamgpt.training.trainer import Trainer


def classifier_card(
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
            shape=f"{counted(shape['n_layer'], 'block')}, {counted(shape['n_head'], 'head')}, "
            f"width {shape['n_embd']}",
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
