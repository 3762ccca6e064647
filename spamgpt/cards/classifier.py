"""The model card of a classifier, README.md: what it is, from what and how, as its run recorded it.

The front matter is what the Hugging Face Hub reads.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import spamgpt
from spamgpt.training.finetuning import EpochRecord


@dataclass(frozen=True)
class ClassifierCard:
    """What a card tells. The references and digests are those of the artifacts.

    `splits` has the messages and the count of each label of every split, `validation` the scores
    on the validation split by their names, `license` what the card of the pretrained model says.
    """

    labels: Sequence[str]
    positive_label: str
    threshold: float
    temperature: float
    model: str
    model_origin: str
    model_digest: str
    shape: str
    license: str | None
    dataset: str
    prepared: str
    prepared_digest: str
    splits: Mapping[str, Mapping[str, Any]]
    settings: Mapping[str, Any]
    trained_parameters: int
    all_parameters: int
    history: Sequence[EpochRecord]
    kept_epoch: int
    validation: Mapping[str, float]
    context: int
    substitutions: Sequence[str]
    versions: Mapping[str, str]


def render_card(card: ClassifierCard) -> str:
    """The card as Markdown with its front matter. The same record gives the same text."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("spamgpt.cards"),
        # Markdown, not HTML: what is put in goes through `as_markdown` instead.
        autoescape=False,
        finalize=as_markdown,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=StrictUndefined,
    )
    body = environment.get_template("classifier_card.md.jinja").render(
        card=card, chosen=_chosen(card), spamgpt=spamgpt.__version__
    )
    return f"---\n{_front_matter(card)}\n---\n{body}"


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


def as_markdown(value: Any) -> Any:
    """Text as Markdown shows it: no markup, no HTML, one line, control characters spelled out."""
    from spamgpt.printable import printable

    if not isinstance(value, str):
        return value
    return re.sub(r"([\\`*_{}\[\]<>|#&~])", r"\\\1", printable(value))


def _chosen(card: ClassifierCard) -> str:
    """What was chosen on the validation split, with its verb."""
    chosen = ["the epoch"] * (card.settings["select"] == "best")
    chosen += ["the threshold"] * (card.threshold != 0.5)
    chosen += ["the temperature"] * (card.temperature != 1)
    verb = "was" if len(chosen) == 1 else "were"
    return f"{' and '.join(chosen)} {verb}" if chosen else ""


def _front_matter(card: ClassifierCard) -> str:
    from huggingface_hub import EvalResult, ModelCardData

    data = ModelCardData(
        license=card.license,
        library_name="spamgpt",
        pipeline_tag="text-classification",
        tags=["gpt2", "text-classification", *card.labels],
        base_model=_name(card.model),
        datasets=[_name(card.dataset)],
        metrics=list(card.validation),
        model_name=card.prepared.replace("/", "-") + "-classifier",
        eval_results=[
            EvalResult(
                task_type="text-classification",
                dataset_type=_name(card.dataset),
                dataset_name=_name(card.dataset),
                dataset_split="validation",
                metric_type=name,
                metric_value=round(value, 6),
            )
            for name, value in card.validation.items()
        ],
    )
    return data.to_yaml().strip()


def _name(reference: str) -> str:
    """`gpt2` for `models/gpt2/v1`."""
    return reference.split("/")[1]
