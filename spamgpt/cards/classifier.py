"""The model card of a classifier, README.md: what it is, from what and how, as its run recorded it.

The front matter is what the Hugging Face Hub reads.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from spamgpt.cards.rendering import render, settings_table
from spamgpt.evaluation.metrics import METRICS
from spamgpt.markdown import Markdown, table
from spamgpt.version import __version__

if TYPE_CHECKING:
    from huggingface_hub import ModelCardData

    from spamgpt.training.finetuning import EpochRecord

# How `fetch` records what came from the Hub, and where the path of a folder ends in its name.
_ON_THE_HUB = re.compile(r"([\w.-]+/[\w.-]+)@[\w./-]+")
_FOLDERS = re.compile(r"^(?:[/\\.~]|\w:).*[/\\](?=.)")

# What of a message the head reads, where it is not its last token.
_HEAD_READS: Mapping[str | None, str] = {
    "first": "the first token of a message",
    "mean": "the mean of a message's tokens",
    "last-position": "the last position of a padded message",
    "mean-positions": "the mean of all positions of a padded message",
}


@dataclass(frozen=True)
class ClassifierCard:
    """What a card tells. The references and digests are those of the artifacts.

    `model_origin` is where the pretrained model came from, as `fetch` recorded it. `splits` has the
    messages and the count of each label of every split, `validation` the scores on the validation
    split by the keys of the metrics, `license` what the card of the pretrained model says.
    `start` is the reference and digest of the classifier that was trained onward, if it was one;
    `threshold_choice` is None with more than two labels. `context` is the most tokens that are read
    at once; if `padded`, shorter messages get as many. With `ngrams`, a linear
    model on n-grams stands beside GPT-2.
    """

    labels: Sequence[str]
    positive_label: str
    threshold: float
    threshold_choice: str | None
    temperature: float
    model: str
    model_origin: str
    model_digest: str
    shape: str
    license: str | None
    start: tuple[str, str] | None
    dataset: str
    prepared: str
    prepared_digest: str
    splits: Mapping[str, Mapping[str, Any]]
    settings: Mapping[str, Any]
    trained_parameters: int
    all_parameters: int
    history: "Sequence[EpochRecord]"
    kept_epoch: int
    validation: Mapping[str, float]
    context: int
    padded: bool
    ngrams: bool
    substitutions: Sequence[str]
    versions: Mapping[str, str]


def render_card(card: ClassifierCard) -> str:
    """The card as Markdown with its front matter. The same record gives the same text."""
    return render(
        "classifier.md.jinja",
        _front_matter(card),
        card=card,
        chosen=_chosen(card),
        reading=_reading(card),
        inputs=_inputs(card),
        splits=_splits(card),
        settings=settings_table(card.settings),
        history=_history(card),
        scores=_scores(card),
        spamgpt=__version__,
    )


def license_of(card: str) -> str | None:
    """The licence that the front matter of a model card names, if there is any."""
    from huggingface_hub import ModelCard
    from yaml import YAMLError

    if not card.startswith("---"):
        return None  # the library would print a warning
    try:
        found = ModelCard(card, ignore_metadata_errors=True).data.get("license")
    except (ValueError, YAMLError):
        return None
    return found if isinstance(found, str) else None


def _chosen(card: ClassifierCard) -> str:
    """What was chosen on the validation split, with its verb."""
    chosen = ["the epoch"] * (card.settings["select"] == "best")
    chosen += ["the threshold"] * (card.threshold != 0.5)
    chosen += ["the temperature"] * (card.temperature != 1)
    verb = "was" if len(chosen) == 1 else "were"
    return f"{' and '.join(chosen)} {verb}" if chosen else ""


def _reading(card: ClassifierCard) -> str:
    """How messages are read, as far as that is not as usual."""
    pooling, attention = card.settings.get("pooling"), card.settings.get("attention")
    told = []
    if pooling in _HEAD_READS:
        told.append(f"The head reads {_HEAD_READS[pooling]}.")
    if attention == "full":
        told.append("Every token of a message sees all of it.")
    if card.padded:
        told.append(
            f"Messages are filled up to {card.context:,} tokens with the end-of-text token, which "
            "the model reads as it reads any other."
        )
    return " ".join(told)


def _inputs(card: ClassifierCard) -> Markdown:
    # Where a folder lies on somebody's disk is nobody's business.
    origin = _FOLDERS.sub("", card.model_origin)
    model = f"{card.model} ({card.shape}), from {origin}"
    return table(
        ("what", "reference", "digest"),
        [
            ("pretrained model", model, card.model_digest[:16]),
            *(
                ("trained onward from", name, digest[:16])
                for name, digest in ([card.start] if card.start else [])
            ),
            ("prepared data", f"{card.prepared}, from {card.dataset}", card.prepared_digest[:16]),
        ],
        left=3,
    )


def _splits(card: ClassifierCard) -> Markdown:
    return table(
        ("split", "messages", *card.labels),
        [
            (
                name,
                f"{split['messages']:,}",
                *(f"{split['labels'].get(label, 0):,}" for label in card.labels),
            )
            for name, split in card.splits.items()
        ],
    )


def _history(card: ClassifierCard) -> Markdown:
    return table(
        ("epoch", "training loss", "training accuracy", "validation loss", "validation accuracy"),
        [
            (
                str(record.epoch),
                f"{record.training_loss:.4f}",
                f"{record.training_accuracy:.2%}",
                f"{record.validation_loss:.4f}",
                f"{record.validation_accuracy:.2%}",
            )
            for record in card.history
        ],
        left=0,
    )


def _scores(card: ClassifierCard) -> Markdown:
    return table(
        ("metric", "score"),
        [
            (METRICS[key].title(card.positive_label), f"{value:.4f}")
            for key, value in card.validation.items()
        ],
    )


def _front_matter(card: ClassifierCard) -> "ModelCardData":
    from huggingface_hub import EvalResult, ModelCardData

    on_the_hub = _ON_THE_HUB.fullmatch(card.model_origin)
    return ModelCardData(
        license=card.license,
        library_name="spamgpt",
        pipeline_tag="text-classification",
        tags=["gpt2", "text-classification", *card.labels],
        base_model=on_the_hub[1] if on_the_hub else _name(card.model),
        datasets=[_name(card.dataset)],
        metrics=list(card.validation),
        model_name=card.prepared.replace("/", "-") + "-classifier",
        eval_results=[
            EvalResult(
                task_type="text-classification",
                dataset_type=_name(card.dataset),
                dataset_name=_name(card.dataset),
                dataset_split="validation",
                metric_type=key,
                metric_name=METRICS[key].name,
                metric_value=round(value, 6),
            )
            for key, value in card.validation.items()
        ],
    )


def _name(reference: str) -> str:
    """`gpt2` for `models/gpt2/v1`."""
    return reference.split("/")[1]
