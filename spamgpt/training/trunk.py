"""The frozen trunk, run once: its activations serve every epoch and every later run."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from spamgpt.data.batches import TokenizedMessages, batches_by_length
from spamgpt.gpt2.model import GPT2
from spamgpt.gpt2.precision import lowered
from spamgpt.reporting import Reporter
from spamgpt.training.cache import Array, ArrayCache


@dataclass(frozen=True)
class Trunk:
    """The output of the first `depth` blocks for every message of a split.

    `activations` is memory-mapped: (rows, n_embd) float32 or, as int16, the bits of bfloat16.
    Message i has the rows `offsets[i]` to `offsets[i + 1]`: one for each token or, where no block
    is left to run, one for its last token.
    """

    depth: int
    activations: Array
    offsets: npt.NDArray[np.int64]

    def rows(self, messages: Sequence[int]) -> Tensor:
        """(rows, n_embd) float32: the activations of some messages, one after the other."""
        parts = [self.activations[self.offsets[i] : self.offsets[i + 1]] for i in messages]
        rows = torch.from_numpy(np.concatenate(parts))
        return rows.view(torch.bfloat16).float() if rows.dtype == torch.int16 else rows


@dataclass(frozen=True)
class TrunkSpecification:
    """What decides every bit of the activations, beside the messages.

    `model` is the digest of the pretrained model; `dtype`, float32 or bfloat16, is that of the
    matrix products and of what is stored.
    """

    model: str
    depth: int
    dtype: torch.dtype
    device: torch.device

    def key(self, messages: TokenizedMessages) -> str:
        """A name for the activations of some messages: equal keys, equal activations."""
        numerics = [str(self.dtype), self.device.type, torch.__version__, torch.get_num_threads()]
        content = json.dumps([self.model, self.depth, numerics, messages.token_ids])
        return hashlib.sha256(content.encode()).hexdigest()[:32]


def run_trunk(
    gpt2: GPT2,
    specification: TrunkSpecification,
    splits: Mapping[str, TokenizedMessages],
    cache: ArrayCache,
    reporter: Reporter,
) -> dict[str, Trunk] | None:
    """The trunk's activations for each split, from the cache or computed and put there.

    None if all of them together do not fit the cache's limit.
    """
    depth, width = specification.depth, gpt2.config.n_embd
    stored = np.dtype(np.int16 if specification.dtype == torch.bfloat16 else np.float32)
    keys = {split: specification.key(messages) for split, messages in splits.items()}
    offsets = {}
    for split, messages in splits.items():
        whole = depth == gpt2.config.n_layer
        rows = [1 if whole else len(ids) for ids in messages.token_ids]
        offsets[split] = np.cumsum([0, *rows])
    shapes = {split: (int(ends[-1]), width) for split, ends in offsets.items()}
    sizes = {split: rows * width * stored.itemsize for split, (rows, width) in shapes.items()}
    if sum(sizes.values()) > cache.limit:
        return None
    found = {split: cache.read(keys[split], shapes[split], stored) for split in splits}
    missing = [split for split in splits if found[split] is None]
    if missing:
        cache.make_room(sum(sizes[split] for split in missing), keep=set(keys.values()))
        low = lowered(gpt2, depth, specification.dtype)
        with reporter.task(
            "Running the frozen trunk", sum(len(splits[split]) for split in missing), "messages"
        ) as task:
            for split in missing:
                about = f"blocks 1-{depth}, {len(splits[split]):,} messages ({split})"
                with cache.writing(keys[split], about, shapes[split], stored) as activations:
                    for batch in batches_by_length(splits[split]):
                        output = _output(low, splits[split], batch, specification)
                        parts = np.split(output, np.cumsum(np.diff(offsets[split])[batch])[:-1])
                        for message, part in zip(batch, parts, strict=True):
                            start = offsets[split][message]
                            activations[start : start + len(part)] = part
                        task.advance(len(batch))
                found[split] = cache.read(keys[split], shapes[split], stored)
    return {
        split: Trunk(depth, activations, offsets[split])
        for split, activations in found.items()
        if activations is not None
    }


@torch.inference_mode()
def _output(
    gpt2: GPT2, messages: TokenizedMessages, batch: list[int], specification: TrunkSpecification
) -> Array:
    """(rows, n_embd): the activations of a batch as they are stored."""
    packed = messages.pack(batch).to(specification.device)
    rows = gpt2.trunk(packed, specification.depth).to(specification.dtype).cpu()
    bits: Array = rows.view(torch.int16 if rows.dtype == torch.bfloat16 else rows.dtype).numpy()
    return bits
