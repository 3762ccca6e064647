"""A linear model on n-grams beside GPT-2: short runs of a message's tokens and of their bytes.

It remembers spellings where GPT-2 reads on; the sum of both logits is right more often than either.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from spamgpt.gpt2.packing import PackedTokens

# The hashing trick (Weinberger et al. 2009): an n-gram is the bucket that its hash falls into.
BUCKETS = 1 << 19
BYTES, TOKENS = range(2, 6), range(1, 4)
# FNV-1a, in 32 bits.
PRIME, BITS = 0x01000193, 0xFFFFFFFF
_SPACE = 32


@dataclass(frozen=True)
class Counts:
    """How often each n-gram occurs in each message, sorted by message: all (n-grams,) int64.

    `bucket` is below BUCKETS for n-grams of bytes, and from there on for those of tokens.
    """

    message: Tensor
    bucket: Tensor
    count: Tensor


class NGrams(nn.Module):
    """Logits of a message from its n-grams: of 2 to 5 bytes, in lower case, and of 1 to 3 tokens.

    `spellings` are the bytes of every token id (`Tokenizer.spellings`). A feature is 1 + log count
    times the n-gram's `idf`, (2 BUCKETS,); those of bytes and those of tokens are each scaled to
    norm 1. `weight` is (2 BUCKETS, labels - 1): the first label's logit is always 0.

    A token is spelt `spelt_bytes[starts[token] :][: lengths[token]]`, also the one that is no
    token of the vocabulary but stands around each message, `space`.
    """

    def __init__(self, spellings: Sequence[bytes], labels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2 * BUCKETS, labels - 1))
        self.idf = nn.Parameter(torch.zeros(2 * BUCKETS), requires_grad=False)
        self.bias = nn.Parameter(torch.zeros(labels - 1))
        # A space is read before and after each message, as around every word in it.
        lowered = [bytes(spelling).lower() for spelling in (*spellings, b" ")]
        self.space = len(spellings)
        self.lengths = torch.tensor([len(spelling) for spelling in lowered])
        self.starts = self.lengths.cumsum(0) - self.lengths
        spelt = torch.frombuffer(bytearray(b"".join(lowered)), dtype=torch.uint8).long()
        self.spelt_bytes = torch.where((spelt >= 9) & (spelt <= 13), _SPACE, spelt)

    def forward(self, packed: PackedTokens) -> Tensor:
        """(messages, labels): the logits of each message."""
        message, bucket, value = self.features(packed)
        weighted = value[:, None] * self.weight[bucket]
        logits = self.bias.repeat(len(packed), 1).index_add(0, message, weighted)
        return torch.cat([logits.new_zeros(len(packed), 1), logits], dim=1)

    def features(self, packed: PackedTokens) -> tuple[Tensor, Tensor, Tensor]:
        """All (n-grams,), sorted by message: whose feature it is, its bucket and its value."""
        counts = self.counts(packed)
        values = (1 + counts.count.log()) * self.idf[counts.bucket]
        # One sum of squares for each message's bytes and one for its tokens.
        group = 2 * counts.message + (counts.bucket >= BUCKETS)
        squares = values.new_zeros(2 * len(packed)).index_add(0, group, values**2)
        return counts.message, counts.bucket, values * squares.clamp_min(1e-12).rsqrt()[group]

    def counts(self, packed: PackedTokens) -> Counts:
        """The n-grams of each message."""
        token_ids, message = packed.token_ids.cpu(), packed.message.cpu()
        keys = [
            *_keys(*self._spelt(token_ids, message), BYTES, 0),
            *_keys(token_ids, message, TOKENS, BUCKETS),
        ]
        found, count = torch.cat(keys).unique(return_counts=True)
        device = packed.token_ids.device
        return Counts(
            (found // (2 * BUCKETS)).to(device),
            (found % (2 * BUCKETS)).to(device),
            count.to(device),
        )

    def _spelt(self, token_ids: Tensor, message: Tensor) -> tuple[Tensor, Tensor]:
        """The bytes of each message with a space before and after, and their messages."""
        messages = int(message[-1]) + 1
        spaced = torch.full((len(token_ids) + 2 * messages,), self.space)
        owner = torch.empty_like(spaced)
        places = torch.arange(len(token_ids)) + 2 * message + 1
        spaced[places] = token_ids
        edge = torch.ones_like(spaced, dtype=torch.bool)
        edge[places] = False
        owner[places] = message
        owner[edge] = torch.arange(messages).repeat_interleave(2)
        lengths = self.lengths[spaced]
        before = lengths.cumsum(0) - lengths
        which = torch.repeat_interleave(torch.arange(len(spaced)), lengths)
        within = torch.arange(len(which)) - before[which]
        return self.spelt_bytes[self.starts[spaced][which] + within], owner[which]


def _keys(
    symbols: Tensor, message: Tensor, sizes: Iterable[int], first_bucket: int
) -> Iterable[Tensor]:
    """For each n-gram of the sizes: its message times 2 BUCKETS, plus its bucket."""
    for size in sizes:
        count = len(symbols) - size + 1
        if count < 1:
            return
        hashed = torch.full((count,), size)
        for place in range(size):
            hashed = ((hashed ^ symbols[place : place + count]) * PRIME) & BITS
        bucket = first_bucket + (hashed ^ (hashed >> 15)) % BUCKETS
        first, last = message[:count], message[size - 1 :]
        yield (first * (2 * BUCKETS) + bucket)[first == last]
