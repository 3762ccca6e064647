"""From texts to packed batches of tokens."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from spamgpt.gpt2.packing import PackedTokens, pack
from spamgpt.gpt2.tokenizer import Tokenizer

# Enough to keep the matrix products busy; more only costs memory.
TOKENS_PER_BATCH = 4096


@dataclass(frozen=True)
class TokenizedMessages:
    """Token ids of messages, none longer than the model's context.

    `truncated` tells which messages were longer and are represented by their first tokens.
    """

    token_ids: list[list[int]]
    truncated: list[bool]

    def __len__(self) -> int:
        return len(self.token_ids)

    def pack(self, indices: Sequence[int]) -> PackedTokens:
        """The chosen messages, in the order of the indices."""
        return pack([self.token_ids[index] for index in indices])


def tokenize(texts: Sequence[str], tokenizer: Tokenizer, context: int) -> TokenizedMessages:
    """Tokenizes messages; of one longer than `context` tokens the first are kept."""
    token_ids = tokenizer.encode(texts)
    truncated = [len(ids) > context for ids in token_ids]
    return TokenizedMessages([ids[:context] for ids in token_ids], truncated)


def batches_by_length(
    messages: TokenizedMessages, tokens_per_batch: int = TOKENS_PER_BATCH
) -> Iterator[list[int]]:
    """Yields indices of messages of similar length, so that attention pads little.

    A batch holds at most `tokens_per_batch` tokens, its longest message counted for each, or one
    message. Every message is in one batch.
    """
    order = sorted(range(len(messages)), key=lambda index: len(messages.token_ids[index]))
    batch: list[int] = []
    for index in order:
        length = len(messages.token_ids[index])
        if batch and length * (len(batch) + 1) > tokens_per_batch:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def shuffled_batches(messages: int, batch_size: int, seed: int, epoch: int) -> list[list[int]]:
    """The batches of one epoch of training; the same seed and epoch always give the same.

    An epoch needs no earlier epoch to have been drawn, which lets a resumed run go on exactly.
    """
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    order = torch.randperm(messages, generator=generator).tolist()
    return [order[start : start + batch_size] for start in range(0, messages, batch_size)]
