"""What a fine-tuning starts from: the pretrained model with a new head, or a classifier."""

from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from spamgpt.stages.plan import Plan

if TYPE_CHECKING:
    from spamgpt.gpt2.classifier import GPT2Classifier
    from spamgpt.gpt2.tokenizer import Tokenizer


@dataclass(frozen=True)
class Start:
    """The model as it is before training.

    `changed` names the tensors that earlier training changed. The frozen blocks, which none of it
    changed where `pretrained_trunk`, are known by `trunk_digest`.
    """

    model: "GPT2Classifier"
    tokenizer: "Tokenizer"
    changed: Set[str]
    pretrained_trunk: bool
    trunk_digest: str


def load_start(planned: Plan) -> Start:
    """Loads what the plan names. Raises IntegrityError, BadDataError or ModelFormatError."""
    from spamgpt.classifier.folder import CONFIG_FILE, TRAINED_FILE, read_trained
    from spamgpt.classifier.model import load_model
    from spamgpt.gpt2.classifier import GPT2Classifier
    from spamgpt.gpt2.weights import read_tensors

    gpt2, tokenizer = load_model(planned.model)
    digest, start = planned.model.digest, planned.start
    if start is None:
        model = GPT2Classifier(gpt2, len(planned.labels), planned.settings.seed)
        return Start(model, tokenizer, set(), True, digest)
    for name in (CONFIG_FILE, TRAINED_FILE):
        start.check(name)
    files = read_trained(start.folder, (gpt2, tokenizer), planned.model.folder)
    changed = read_tensors(start.folder / TRAINED_FILE).keys()
    pretrained_trunk = files.unchanged >= planned.policy.frozen_blocks
    if not pretrained_trunk:
        digest += f" {start.digest}"
    return Start(files.model, tokenizer, changed, pretrained_trunk, digest)


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
