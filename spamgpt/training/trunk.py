"""The frozen trunk, run once: its activations serve every epoch and every later run."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from functools import cache as computed_once
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from spamgpt.classifier.inference import in_batches
from spamgpt.data.batches import TokenizedMessages, tokens_per_batch
from spamgpt.gpt2.backends.precision import lowered
from spamgpt.gpt2.classifier import hidden_states_for, keeps_one_row
from spamgpt.gpt2.model import GPT2
from spamgpt.gpt2.pooling import AttentionPattern, Pooling
from spamgpt.reporting import Reporter, Task
from spamgpt.training.cache import Array, ArrayCache
from spamgpt.version import __version__

# The code whose arithmetic, or whose choice of what is computed together, decides activations.
_ROOT = Path(__file__).parents[1]
_DECIDES = (
    "gpt2/**/*.py",
    "classifier/inference.py",
    "data/batches.py",
    "training/trunk.py",
)


@dataclass(frozen=True)
class Trunk:
    """The output of the first `depth` blocks for every message of a split.

    `activations` is memory-mapped: (rows, n_embd) float32 or, as int16, the bits of bfloat16.
    Message i has the rows `offsets[i]` to `offsets[i + 1]`: one for each token or, where the head
    needs no more (`keeps_one_row`), one.
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
    """What decides every bit of the activations, beside the messages and the model's attention.

    `model` is the digest of the pretrained model and of what has changed it since; `dtype`,
    float32 or bfloat16, is that of the matrix products and of what is stored. `pooling` is what the
    head reads.
    """

    model: str
    depth: int
    dtype: torch.dtype
    device: torch.device
    pooling: Pooling = "last"

    def key(
        self, messages: TokenizedMessages, attention: AttentionPattern, one_row: bool = False
    ) -> str:
        """A name for the activations of some messages: equal keys, equal activations.

        With a row for each token (`keeps_one_row`), they are the same for every pooling.
        """
        numerics = [str(self.dtype), self.device.type, torch.__version__, torch.get_num_threads()]
        read = [attention, self.pooling if one_row else None, messages.own_lengths]
        content = json.dumps(
            [self.model, self.depth, numerics, code_digest(), read, messages.token_ids]
        )
        return hashlib.sha256(content.encode()).hexdigest()[:32]


@computed_once
def code_digest() -> str:
    """A digest of this program's code that decides activations: another code, another digest."""
    digest = hashlib.sha256(__version__.encode())
    for path in sorted(path for pattern in _DECIDES for path in _ROOT.glob(pattern)):
        digest.update(f"{path.relative_to(_ROOT).as_posix()}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def run_trunk(
    gpt2: GPT2,
    specification: TrunkSpecification,
    splits: Mapping[str, TokenizedMessages],
    cache: ArrayCache,
    reporter: Reporter,
    weights: Path | None = None,
) -> dict[str, Trunk] | None:
    """The trunk's activations for each split, from the cache or computed and put there.

    `weights` is the file that the model was mapped from, if it was (`lowered`).
    None if all of them together do not fit the cache's limit. Where there is room, those one block
    less deep are kept as well, for a run that trains one block more; and what is there of less
    depth is where the computing begins.
    """
    depth = specification.depth
    wanted = [_Stored(gpt2, specification, name, messages) for name, messages in splits.items()]
    if sum(stored.size for stored in wanted) > cache.limit:
        return None
    # What is mapped stays readable even if another run near the limit evicts it.
    found = {stored.split: stored.read(cache) for stored in wanted}
    missing = [stored for stored in wanted if found[stored.split] is None]
    if missing:
        depths, size = [depth], sum(stored.size for stored in missing)
        if depth > 1:
            lesser = sum(stored.at(depth - 1).size for stored in missing)
            if size + lesser <= cache.limit:
                depths, size = [depth - 1, depth], size + lesser
        cache.make_room(size, keep={stored.key for stored in wanted})
        low = lowered(gpt2, depth, specification.dtype, weights, unchanged=depth)
        total = sum(len(stored.messages) for stored in missing)
        with reporter.task("Running the frozen trunk", total, "messages") as task:
            for stored in missing:
                found[stored.split] = _compute(low, stored, depths, cache, task)
    return {
        stored.split: Trunk(depth, activations, stored.offsets)
        for stored in wanted
        if (activations := found[stored.split]) is not None
    }


class _Stored:
    """What the cache holds, or will hold, for a split."""

    def __init__(
        self,
        gpt2: GPT2,
        specification: TrunkSpecification,
        split: str,
        messages: TokenizedMessages,
    ) -> None:
        self._gpt2 = gpt2
        self.specification = specification
        self.split = split
        self.messages = messages
        one_row = keeps_one_row(specification.pooling, gpt2, specification.depth)
        self.key = specification.key(messages, gpt2.attention, one_row)
        rows = [1 if one_row else len(ids) for ids in messages.token_ids]
        self.offsets = np.cumsum([0, *rows])
        self._shape = (int(self.offsets[-1]), gpt2.config.n_embd)
        self._type = np.dtype(np.int16 if specification.dtype == torch.bfloat16 else np.float32)

    @property
    def size(self) -> int:
        """Bytes."""
        return self._shape[0] * self._shape[1] * self._type.itemsize

    def at(self, depth: int) -> "_Stored":
        """The same of another depth."""
        specification = replace(self.specification, depth=depth)
        return _Stored(self._gpt2, specification, self.split, self.messages)

    def read(self, cache: ArrayCache) -> Array | None:
        return cache.read(self.key, self._shape, self._type)

    def writing(self, cache: ArrayCache) -> AbstractContextManager[Array]:
        about = f"blocks 1-{self.specification.depth} ({self.split})"
        return cache.writing(self.key, about, self._shape, self._type)

    def put(self, activations: Array, batch: Sequence[int], output: Tensor) -> None:
        """Stores the output for some messages."""
        rows = output.to(self.specification.dtype).cpu()
        bits = rows.view(torch.int16 if rows.dtype == torch.bfloat16 else rows.dtype).numpy()
        start = 0
        for message in batch:
            first, end = self.offsets[message], self.offsets[message + 1]
            activations[first:end] = bits[start : start + end - first]
            start += end - first


@torch.inference_mode()
def _compute(
    gpt2: GPT2, stored: _Stored, depths: Sequence[int], cache: ArrayCache, task: Task
) -> Array:
    """Runs the trunk for a split and puts its output at some depths, in rising order, away.

    Returns that of the last depth.
    """
    device, pooling = stored.specification.device, stored.specification.pooling
    begin, known = 0, None
    for depth in range(depths[-1] - 1, 0, -1):
        lesser = stored.at(depth)
        activations = lesser.read(cache)
        if activations is not None:
            begin, known = depth, Trunk(depth, activations, lesser.offsets)
            break
    with ExitStack() as stack:
        targets = [stored.at(depth) for depth in depths if depth > begin]
        arrays = [stack.enter_context(target.writing(cache)) for target in targets]

        def compute(batch: Sequence[int]) -> None:
            packed = stored.messages.pack(batch).to(device)
            reached, x = begin, None if known is None else known.rows(batch).to(device)
            for target, array in zip(targets, arrays, strict=True):
                depth = target.specification.depth
                x = hidden_states_for(pooling, gpt2, packed, depth, reached, x)
                reached = depth
                target.put(array, batch, x)
            task.advance(len(batch))

        in_batches(compute, stored.messages, tokens_per_batch(device, gpt2.config.n_embd))
    return arrays[-1]
