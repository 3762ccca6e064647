"""The frozen trunk, run once: its activations serve every epoch and every later run."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from functools import cache as computed_once
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from spamgpt.classifier.inference import in_batches
from spamgpt.data.batches import TokenizedMessages, batches_by_length, tokens_per_batch
from spamgpt.errors import SpamgptError
from spamgpt.gpt2.backends.precision import lowered
from spamgpt.gpt2.classifier import hidden_states_for, keeps_one_row
from spamgpt.gpt2.model import GPT2
from spamgpt.gpt2.pooling import AttentionPattern, Pooling
from spamgpt.reporting import Reporter, Task
from spamgpt.training import distributed
from spamgpt.training.cache import Array, ArrayCache
from spamgpt.training.distributed import receive
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

    Several processes compute a share each, and the main one writes what the others read: all must
    see the same folder. Raises SpamgptError if one does not.
    """
    depth = specification.depth
    wanted = [_Stored(gpt2, specification, name, messages) for name, messages in splits.items()]
    limit = distributed.from_main(lambda: cache.limit)
    if sum(stored.size for stored in wanted) > limit:
        return None
    # What is mapped stays readable even if another run near the limit evicts it.
    found = {stored.split: stored.read(cache) for stored in wanted}
    absent = distributed.from_main(lambda: [name for name in found if found[name] is None])
    missing = [stored for stored in wanted if stored.split in absent]
    if missing:
        depths, size = [depth], sum(stored.size for stored in missing)
        if depth > 1:
            lesser = sum(stored.at(depth - 1).size for stored in missing)
            if size + lesser <= limit:
                depths, size = [depth - 1, depth], size + lesser
        if distributed.is_main():
            cache.make_room(size, keep={stored.key for stored in wanted})
        low = lowered(gpt2, depth, specification.dtype, weights, unchanged=depth)
        total = sum(len(stored.messages) for stored in missing)
        with reporter.task("Running the frozen trunk", total, "messages") as task:
            for stored in missing:
                computed = _compute(low, stored, depths, cache, task)
                found[stored.split] = stored.read(cache) if computed is None else computed
    trunks = {
        stored.split: Trunk(depth, activations, stored.offsets)
        for stored in wanted
        if (activations := found[stored.split]) is not None
    }
    if len(trunks) < len(wanted):
        raise _unseen(cache)
    return trunks


def _unseen(cache: ArrayCache) -> SpamgptError:
    return SpamgptError(
        f"A process cannot read what the main one wrote to {cache.folder}.",
        "Put the workspace where all machines see it.",
    )


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

    def stored_rows(self, output: Tensor) -> Tensor:
        """The output for some messages as it is stored: on the CPU, bfloat16 as its bits."""
        rows = output.to(self.specification.dtype).cpu()
        return rows.view(torch.int16) if rows.dtype == torch.bfloat16 else rows

    def empty(self, batch: Sequence[int]) -> Tensor:
        """Room for what `stored_rows` gives for some messages."""
        rows = sum(int(self.offsets[message + 1] - self.offsets[message]) for message in batch)
        return torch.from_numpy(np.empty((rows, self._shape[1]), self._type))

    def put(self, activations: Array, batch: Sequence[int], rows: Tensor) -> None:
        """Stores the output for some messages, `stored_rows`."""
        bits, start = rows.numpy(), 0
        for message in batch:
            first, end = self.offsets[message], self.offsets[message + 1]
            activations[first:end] = bits[start : start + end - first]
            start += end - first


@torch.inference_mode()
def _compute(
    gpt2: GPT2, stored: _Stored, depths: Sequence[int], cache: ArrayCache, task: Task
) -> Array | None:
    """Runs the trunk for a split and puts its output at some depths, in rising order, away.

    Returns that of the last depth; None in a process that does not write.
    """
    device, pooling = stored.specification.device, stored.specification.pooling
    begin, known = distributed.from_main(lambda: _known(stored, depths, cache)), None
    if begin:
        lesser = stored.at(begin)
        activations = lesser.read(cache)
        if activations is None:
            raise _unseen(cache)
        known = Trunk(begin, activations, lesser.offsets)
    targets = [stored.at(depth) for depth in depths if depth > begin]

    def outputs(batch: Sequence[int]) -> Iterator[Tensor]:
        """What of the batch goes to each of the targets."""
        packed = stored.messages.pack(batch).to(device)
        reached, x = begin, None if known is None else known.rows(batch).to(device)
        for target in targets:
            depth = target.specification.depth
            x = hidden_states_for(pooling, gpt2, packed, depth, reached, x)
            reached = depth
            yield target.stored_rows(x)

    def most_tokens() -> int:
        return tokens_per_batch(device, gpt2.config.n_embd)

    if not distributed.is_main():
        _send_share(outputs, stored.messages, distributed.from_main(most_tokens))
        # What was written can be read when the main process has left the block below.
        distributed.from_main(lambda: None)
        return None
    with ExitStack() as stack:
        arrays = [stack.enter_context(target.writing(cache)) for target in targets]

        def put(batch: Sequence[int], each: Iterable[Tensor]) -> None:
            for target, array, rows in zip(targets, arrays, each, strict=True):
                target.put(array, batch, rows)
            task.advance(len(batch))

        if distributed.size() == 1:
            in_batches(lambda batch: put(batch, outputs(batch)), stored.messages, most_tokens())
        else:
            most = distributed.from_main(most_tokens)
            for dealt in _rounds(stored.messages, most):
                put(dealt[0], outputs(dealt[0]))
                for sender, batch in enumerate(dealt[1:], start=1):
                    put(batch, (receive(sender, target.empty(batch)) for target in targets))
    distributed.from_main(lambda: None)
    return arrays[-1]


def _known(stored: _Stored, depths: Sequence[int], cache: ArrayCache) -> int:
    """How many blocks the cache has the output of already; 0: none."""
    depths_before = range(depths[-1] - 1, 0, -1)
    return next((d for d in depths_before if stored.at(d).read(cache) is not None), 0)


def _rounds(messages: TokenizedMessages, most_tokens: int) -> Iterator[list[list[int]]]:
    """The batches that one process would compute, as many at a time as there are processes."""
    batches = list(batches_by_length(messages, most_tokens))
    for start in range(0, len(batches), distributed.size()):
        yield batches[start : start + distributed.size()]


def _send_share(
    outputs: Callable[[Sequence[int]], Iterable[Tensor]], messages: TokenizedMessages, most: int
) -> None:
    """Computes what falls to this process in each round, and sends it to the main one."""
    for dealt in _rounds(messages, most):
        if distributed.rank() < len(dealt):
            for rows in outputs(dealt[distributed.rank()]):
                distributed.send_to_main(rows)
