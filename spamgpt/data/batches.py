"""From texts to packed batches of tokens."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from spamgpt.gpt2.tokenizer import Tokenizer

if TYPE_CHECKING:
    import torch

    from spamgpt.gpt2.packing import PackedTokens

# A CPU is fastest with what fits its caches; on a GPU every call costs, so that few are better, up
# to where the matrix products fill it. Other devices share the memory of the machine.
ON_CPU, _ON_GPU, _ELSEWHERE = 4_096, 32_768, 4_096
# Hidden states, the three times wider ones of attention and the four times wider ones of the MLP,
# some of them twice, in float32.
_BYTES_PER_TOKEN_AND_WIDTH = 16 * 4

# The most windows of one message that are read. More find no more spam in real mails, and so no
# message takes as long as it is.
MOST_WINDOWS = 4


@dataclass(frozen=True)
class TokenizedMessages:
    """Token ids of messages, none longer than the model's context.

    `truncated` tells which messages were longer and are represented by their first tokens. Where
    padding stands behind the messages, `own_lengths` is how many tokens of each are its own.
    """

    token_ids: list[list[int]]
    truncated: list[bool]
    own_lengths: list[int] | None = None

    def __len__(self) -> int:
        return len(self.token_ids)

    def pack(self, indices: Sequence[int]) -> "PackedTokens":
        """The chosen messages, in the order of the indices."""
        # A few messages are cut and counted without torch.
        from spamgpt.gpt2.packing import pack

        own = None if self.own_lengths is None else [self.own_lengths[index] for index in indices]
        return pack([self.token_ids[index] for index in indices], own)

    def of(self, indices: Sequence[int]) -> "TokenizedMessages":
        """The chosen messages, in the order of the indices."""
        return TokenizedMessages(
            [self.token_ids[index] for index in indices],
            [self.truncated[index] for index in indices],
            self.own_lengths and [self.own_lengths[index] for index in indices],
        )

    def cut(self, length: int) -> "TokenizedMessages":
        """The first `length` tokens of each message."""
        truncated = [
            already or len(ids) > length
            for ids, already in zip(self.token_ids, self.truncated, strict=True)
        ]
        return TokenizedMessages([ids[:length] for ids in self.token_ids], truncated)

    def padded(self, length: int, token: int) -> "TokenizedMessages":
        """The same with `token` behind each message, up to `length`: for the model one as others.

        None of the messages may be longer.
        """
        own = [len(ids) for ids in self.token_ids]
        token_ids = [ids + [token] * (length - len(ids)) for ids in self.token_ids]
        return TokenizedMessages(token_ids, self.truncated, own)


def tokenize(texts: Sequence[str], tokenizer: Tokenizer, context: int) -> TokenizedMessages:
    """Tokenizes messages; of one longer than `context` tokens the first are kept."""
    token_ids = tokenizer.encode(texts)
    truncated = [len(ids) > context for ids in token_ids]
    return TokenizedMessages([ids[:context] for ids in token_ids], truncated)


@dataclass(frozen=True)
class Windows:
    """Messages of any length, cut into windows of at most the model's context.

    Message i has the windows `offsets[i]` to `offsets[i + 1]`, at least one. `starts` is the token
    of its message that each window begins with. `left_out` is how many more windows it would take
    to read each message as a whole.
    """

    messages: TokenizedMessages
    offsets: npt.NDArray[np.int64]
    starts: list[int]
    left_out: list[int]

    @property
    def counts(self) -> list[int]:
        """How many windows each message has."""
        counts: list[int] = np.diff(self.offsets).tolist()
        return counts


def tokenize_in_windows(texts: Sequence[str], tokenizer: Tokenizer, context: int) -> Windows:
    """Tokenizes messages; one longer than `context` tokens becomes windows that cover it.

    They are as few as can be, full, and equally far apart: the first begins where the message
    begins, the last ends where it ends. Of a message that takes more than MOST_WINDOWS as many are
    read, which leave out what is between them.
    """
    windows: list[list[int]] = []
    starts: list[int] = []
    left_out: list[int] = []
    offsets = [0]
    for ids in tokenizer.encode(texts):
        covering = -(-len(ids) // context)
        count = min(covering, MOST_WINDOWS)
        last = max(0, len(ids) - context)
        places = [last * number // max(1, count - 1) for number in range(count)]
        left_out.append(covering - count)
        windows += [ids[place : place + context] for place in places]
        starts += places
        offsets.append(len(starts))
    messages = TokenizedMessages(windows, [False] * len(windows))
    return Windows(messages, np.array(offsets), starts, left_out)


def tokens_per_batch(device: "torch.device", n_embd: int = 768) -> int:
    """How many tokens a batch should have on a device, for a model of width `n_embd`.

    On a GPU no more than take a quarter of the memory that is free; a power of two, so that the
    batches, and with them the last bits of the answers, do not change with every free byte.
    """
    if device.type == "cpu":
        return ON_CPU
    if device.type != "cuda":
        return _ELSEWHERE
    import torch

    free, _ = torch.cuda.mem_get_info(device)
    # What torch keeps for itself without using it.
    free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    fitting = free // 4 // (_BYTES_PER_TOKEN_AND_WIDTH * n_embd)
    return min(_ON_GPU, max(ON_CPU, 1 << max(0, fitting.bit_length() - 1)))


def batches_by_length(messages: TokenizedMessages, most_tokens: int) -> Iterator[list[int]]:
    """Yields indices of messages in the order of their lengths, so that attention pads little.

    A batch holds at most `most_tokens` tokens or one message. Every message is in one batch.
    """
    order = sorted(range(len(messages)), key=lambda index: len(messages.token_ids[index]))
    batch: list[int] = []
    tokens = 0
    for index in order:
        length = len(messages.token_ids[index])
        if batch and tokens + length > most_tokens:
            yield batch
            batch, tokens = [], 0
        batch.append(index)
        tokens += length
    if batch:
        yield batch


def shuffled_batches(messages: int, batch_size: int, seed: int, epoch: int) -> list[list[int]]:
    """The batches of one epoch of training; the same seed and epoch always give the same.

    An epoch needs no earlier epoch to have been drawn, which lets a resumed run go on exactly.
    """
    import torch

    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    order = torch.randperm(messages, generator=generator).tolist()
    return [order[start : start + batch_size] for start in range(0, messages, batch_size)]
