"""Which n-grams a message has and how often, hashed into buckets: the features of `ngrams`.

It is done in numpy for all: sorting integers is several times faster there than in torch.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

# The hashing trick (Weinberger et al. 2009): an n-gram is the bucket that its hash falls into.
BUCKETS = 1 << 19
BYTES, TOKENS = range(2, 6), range(1, 4)
# FNV-1a, in 32 bits.
PRIME, BITS = 0x01000193, 0xFFFFFFFF
_SPACE = 32

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Counts:
    """How often each n-gram occurs in each message, sorted by message: all (n-grams,) int64.

    `bucket` is below BUCKETS for n-grams of bytes, and from there on for those of tokens.
    """

    message: Integers
    bucket: Integers
    count: Integers


class NGramCounter:
    """Counts the n-grams of messages: of 2 to 5 bytes, in lower case, and of 1 to 3 tokens.

    `spellings` are the bytes of every token id (`Tokenizer.spellings`). A token is spelt
    `spelt_bytes[starts[token] :][: lengths[token]]`, also the one that is no token of the
    vocabulary but stands around each message, `space`.
    """

    def __init__(self, spellings: Sequence[bytes]) -> None:
        # A space is read before and after each message, as around every word in it.
        lowered = [bytes(spelling).lower() for spelling in (*spellings, b" ")]
        self.space = len(spellings)
        self.lengths = np.array([len(spelling) for spelling in lowered])
        self.starts = self.lengths.cumsum() - self.lengths
        spelt = np.frombuffer(b"".join(lowered), np.uint8)
        self.spelt_bytes = np.where((spelt >= 9) & (spelt <= 13), _SPACE, spelt).astype(np.int64)

    def count(self, token_ids: Integers, message: Integers) -> Counts:
        """The n-grams of messages that lie end to end.

        `token_ids` are their tokens and `message`, from 0 on, says whose each token is: (tokens,).
        """
        keys = [
            *_keys(*self._spelt(token_ids, message), BYTES, 0),
            *_keys(token_ids, message, TOKENS, BUCKETS),
        ]
        found, count = np.unique(np.concatenate(keys), return_counts=True)
        return Counts(found // (2 * BUCKETS), found % (2 * BUCKETS), count)

    def _spelt(self, token_ids: Integers, message: Integers) -> tuple[Integers, Integers]:
        """The bytes of each message with a space before and after, and their messages."""
        messages = int(message[-1]) + 1
        spaced = np.full(len(token_ids) + 2 * messages, self.space)
        owner = np.empty_like(spaced)
        places = np.arange(len(token_ids)) + 2 * message + 1
        spaced[places] = token_ids
        edge = np.ones(len(spaced), np.bool_)
        edge[places] = False
        owner[places] = message
        owner[edge] = np.arange(messages).repeat(2)
        lengths = self.lengths[spaced]
        before = lengths.cumsum() - lengths
        which = np.arange(len(spaced)).repeat(lengths)
        within = np.arange(len(which)) - before[which]
        return self.spelt_bytes[self.starts[spaced][which] + within], owner[which]


def _keys(
    symbols: Integers, message: Integers, sizes: Iterable[int], first_bucket: int
) -> Iterable[Integers]:
    """For each n-gram of the sizes: its message times 2 BUCKETS, plus its bucket."""
    for size in sizes:
        count = len(symbols) - size + 1
        if count < 1:
            return
        hashed = np.full(count, size)
        for place in range(size):
            hashed = ((hashed ^ symbols[place : place + count]) * PRIME) & BITS
        bucket = first_bucket + (hashed ^ (hashed >> 15)) % BUCKETS
        first, last = message[:count], message[size - 1 :]
        yield (first * (2 * BUCKETS) + bucket)[first == last]
