"""What a fine-tuning starts from: a pretrained model or a classifier, and the messages."""

from collections.abc import Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from spamgpt.reporting import Reporter
from spamgpt.stages.plan import Plan
from spamgpt.workspace import Workspace

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from spamgpt.classifier.config import ClassifierConfig
    from spamgpt.gpt2.classifier import GPT2Classifier
    from spamgpt.gpt2.ngrams import NGrams
    from spamgpt.gpt2.tokenizer import Tokenizer
    from spamgpt.training.finetuning import LabelledMessages
    from spamgpt.training.policy import TrainingPolicy


@dataclass(frozen=True)
class Start:
    """The model as it is before training.

    `changed` names the tensors that earlier training changed. The frozen blocks, which none of it
    changed where `pretrained_trunk`, are known by `trunk_digest`. GPT-2 is trained without the
    model on `ngrams`, if the classifier to start from has one; that learns onward by itself.
    """

    model: "GPT2Classifier"
    tokenizer: "Tokenizer"
    changed: Set[str]
    pretrained_trunk: bool
    trunk_digest: str
    ngrams: "NGrams | None" = None


def load_start(planned: Plan) -> Start:
    """Loads what the plan names. Raises IntegrityError, BadDataError or ModelFormatError."""
    from spamgpt.classifier.config import CONFIG_FILE, TRAINED_FILE
    from spamgpt.classifier.folder import read_trained
    from spamgpt.classifier.model import load_model
    from spamgpt.gpt2.adapters import merge_adapters
    from spamgpt.gpt2.classifier import GPT2Classifier
    from spamgpt.gpt2.weights import read_tensors

    gpt2, tokenizer = load_model(planned.model)
    digest, start, settings = planned.model.digest, planned.start, planned.settings
    if start is None:
        model = GPT2Classifier(
            gpt2,
            len(planned.labels),
            settings.seed,
            planned.reading.pooling,
            planned.reading.attention,
        )
        return Start(model, tokenizer, set(), True, digest)
    for name in (CONFIG_FILE, TRAINED_FILE):
        start.check(name)
    files = read_trained(start.folder, (gpt2, tokenizer), planned.model.folder)
    ngrams, files.model.ngrams = files.model.ngrams, None
    names = read_tensors(start.folder / TRAINED_FILE).keys()
    changed: Set[str] = {name for name in names if not name.startswith("ngrams.")}
    if files.config.lora:
        merge_adapters(files.model.gpt2)
        changed = _from_block(files.model, files.unchanged)
    pretrained_trunk = files.unchanged >= planned.policy.frozen_blocks
    if not pretrained_trunk:
        digest += f" {start.digest}"
    return Start(files.model, tokenizer, changed, pretrained_trunk, digest, ngrams)


def changed_tensors(
    model: "GPT2Classifier", policy: "TrainingPolicy", changed: Set[str]
) -> dict[str, "Tensor"]:
    """What a classifier trained onward keeps: the tensors named, with adapters merged into them."""
    from spamgpt.gpt2.adapters import merge_adapters

    if policy.lora:
        merge_adapters(model.gpt2)
        changed = changed | _from_block(model, policy.frozen_blocks)
    return {name: p.detach() for name, p in model.named_parameters() if name in changed}


def _from_block(model: "GPT2Classifier", first: int) -> set[str]:
    """The names of all parameters from a block on: those that a classifier's file has together."""
    before = ("gpt2.wte.", "gpt2.wpe.", *(f"gpt2.h.{number}." for number in range(first)))
    return {name for name, _ in model.named_parameters() if not name.startswith(before)}


def keep_seen(planned: Plan, path: Path) -> None:
    """Keeps what was trained on, by this run and those that it goes on from.

    The salt comes from the data, so that the same settings and inputs give the same bytes. Where a
    classifier to start from has no record, none is kept: half of one would be taken for all.
    """
    from spamgpt.data.rows import TEXT
    from spamgpt.data.seen import SEEN_FILE, write_more_seen, write_seen
    from spamgpt.data.tables import read_table

    texts = read_table(planned.prepared.file("train.csv"))[TEXT]
    if planned.start is None:
        write_seen(texts, bytes.fromhex(planned.prepared.digest)[:16], path)
    elif SEEN_FILE in planned.start.files:
        write_more_seen(texts, planned.start.file(SEEN_FILE), path)


def read_splits(
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
    from spamgpt.data.corrected import replayed
    from spamgpt.data.tables import read_table
    from spamgpt.device import resolve_precision
    from spamgpt.gpt2.folder import WEIGHTS_FILE
    from spamgpt.training.cache import ArrayCache
    from spamgpt.training.finetuning import labelled_messages, with_trunks
    from spamgpt.training.trunk import TrunkSpecification
    from spamgpt.training.variants import padded_length

    settings, reading = planned.settings, planned.reading
    gpt2, tokenizer = start.model.gpt2, start.tokenizer
    context = gpt2.config.n_positions
    tables = {
        name: read_table(planned.prepared.file(f"{name}.csv")) for name in ("train", "validation")
    }
    if settings.replay is not None:
        tables["train"] = replayed(tables["train"], settings.replay, settings.seed)
    splits = {
        name: labelled_messages(table, planned.labels, tokenizer, context)
        for name, table in tables.items()
    }
    longest = max(map(len, splits["train"].messages.token_ids), default=1)
    config = ClassifierConfig(
        labels=planned.labels,
        positive_label=planned.positive_label,
        threshold=0.5,
        unfreeze=planned.policy.name,
        pooling=reading.pooling,
        attention=reading.attention,
        padding=padded_length(reading.padding, longest, context),
        ngrams=planned.hyperparameters.ngrams,
        # Adapters on a classifier that was trained before are merged into it.
        lora=None if planned.start else planned.policy.lora,
    )
    limit = config.padding or context
    if config.padding and not config.pads:
        reporter.note(
            f"Padding changes nothing: with `attention=causal` and `pooling={reading.pooling}` "
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
        reading.pooling,
    )
    cache_limit = None if settings.cache_limit is None else int(settings.cache_limit * 2**30)
    cache = ArrayCache(workspace.cache, cache_limit)
    weights = planned.model.file(WEIGHTS_FILE) if start.pretrained_trunk else None
    return with_trunks(splits, gpt2, specification, cache, reporter, weights), config
