"""The model card of a pre-trained model, README.md: its shape, its corpus and its training."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from spamgpt.cards.rendering import render, settings_table
from spamgpt.gpt2.config import GPT2Config
from spamgpt.markdown import Markdown, table
from spamgpt.printable import counted

if TYPE_CHECKING:
    from spamgpt.training.pretraining import PretrainingRecord


@dataclass(frozen=True)
class PretrainedCard:
    """What a card tells.

    `tokens` and `epochs` say how much was trained on. Each of `sources` has its name (`source`),
    `tokens`, `weight` and `share` of an epoch. `history` has what was measured on the way. Of the
    files and folders in `settings` only the names are told. `base` is the reference of the model
    from which training went on, None for one that started from scratch.
    """

    name: str
    config: GPT2Config
    parameters: int
    tokens: int
    epochs: float
    seed: int
    sources: Sequence[Mapping[str, Any]]
    history: "Sequence[PretrainingRecord]"
    settings: Mapping[str, Any]
    base: str | None = None


def render_card(card: PretrainedCard) -> str:
    """The card as Markdown with its front matter. The same record gives the same text."""
    from huggingface_hub import ModelCardData

    front_matter = ModelCardData(
        library_name="spamgpt",
        pipeline_tag="text-generation",
        tags=["gpt2"],
        base_model=_base_model(card),
        model_name=card.name,
    )
    return render(
        "pretrained.md.jinja",
        front_matter,
        card=card,
        shape=shape(card),
        onward=f", from {card.base}" if card.base else "",
        corpus=corpus(card),
        history=history(card),
        settings=settings_table(card.settings),
    )


def _base_model(card: PretrainedCard) -> str | None:
    """The name of the model below; that of a repository cannot be told from its artifact's."""
    name = card.base.split("/")[1] if card.base else None
    return None if name is None or "--" in name else name


def shape(card: PretrainedCard) -> str:
    """The architecture in a sentence."""
    config = card.config
    return (
        f"GPT-2 with {counted(config.n_layer, 'block')}, {counted(config.n_head, 'head')}, "
        f"width {config.n_embd}, "
        f"context {config.n_positions:,} tokens, {config.vocab_size:,} byte-level BPE tokens: "
        f"{card.parameters:,} parameters."
    )


def corpus(card: PretrainedCard, described: Mapping[str, Sequence[str]] | None = None) -> Markdown:
    """The table of the sources; `described` may have the content and the licence of each."""
    described = described or {}
    about = ("content", "licence as stated") if described else ()
    return table(
        ("source", *about, "tokens", "weight", "share of an epoch"),
        [
            (
                source["source"],
                *described.get(source["source"], ()),
                f"{source['tokens']:,}",
                f"{source['weight']:g}",
                f"{source['share']:.1%}",
            )
            for source in card.sources
        ],
        left=1 + len(about),
    )


def history(card: PretrainedCard) -> Markdown:
    """The table of what was measured on the way."""
    return table(
        ("tokens", "epochs", "training loss", "held-out loss", "held-out perplexity"),
        [
            (
                f"{record.tokens:,}",
                f"{record.epochs:.2f}",
                f"{record.training_loss:.3f}",
                f"{record.held_out_loss:.3f}",
                f"{math.exp(record.held_out_loss):.1f}",
            )
            for record in card.history
        ],
        left=0,
    )
