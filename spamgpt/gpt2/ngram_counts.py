"""Which n-grams a message has and how often, hashed into buckets: the features of `ngrams`.

It is done in numpy for all: sorting integers is several times faster there than in torch.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

# The hashing trick (Weinberger et al. 2009): an n-gram is the bucket that its hash falls into.
BUCKETS = 1 << 19
# Each kind of n-grams, of bytes, of tokens and of words, has buckets of its own.
KINDS = 3
ALL_BUCKETS = KINDS * BUCKETS
BYTES, TOKENS, WORDS = range(2, 6), range(1, 4), range(1, 3)
# FNV-1a, in 32 bits.
PRIME, BITS = 0x01000193, 0xFFFFFFFF
SPACE = 32
# Whether a byte is one of those that words are made of: letters, digits, whatever is not ASCII.
IN_WORDS = np.array([byte > 127 or chr(byte).isalnum() or chr(byte) == "_" for byte in range(256)])
# Chinese characters and kana, of three bytes each, are written without spaces: each is a word.
# They begin with these bytes.
BEGINS_ALONE = np.array([0xE3 <= byte <= 0xE9 for byte in range(256)])
# A word is the sum of its bytes, each times a power of PRIME: after 64 of them, the first again.
POWERS = np.array([pow(PRIME, place + 1, 1 << 32) for place in range(64)])

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Counts:
    """How often each n-gram occurs in each message, sorted by message: all (n-grams,) int64.

    `bucket` is below BUCKETS for n-grams of bytes, below 2 BUCKETS for those of tokens, and from
    there on for those of words.
    """

    message: Integers
    bucket: Integers
    count: Integers


class NGramCounter:
    """Counts the n-grams of messages: of 2 to 5 bytes, of 1 to 3 tokens and of 1 and 2 words.

    Bytes and words are in lower case. What is no space and in no word is a word of one byte, and a
    Chinese character or a kana is a word.
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
        self.spelt_bytes = np.where((spelt >= 9) & (spelt <= 13), SPACE, spelt).astype(np.int64)

    def count(self, token_ids: Integers, message: Integers) -> Counts:
        """The n-grams of messages that lie end to end.

        `token_ids` are their tokens and `message`, from 0 on, says whose each token is: (tokens,).
        """
        spelt = self._spelt(token_ids, message)
        keys = [
            *_keys(*spelt, BYTES, 0),
            *_keys(token_ids, message, TOKENS, BUCKETS),
            *_keys(*_words(*spelt), WORDS, 2 * BUCKETS),
        ]
        found, count = np.unique(np.concatenate(keys), return_counts=True)
        return Counts(*np.divmod(found, ALL_BUCKETS), count)

    def trust(
        self, token_ids: Integers, message: Integers, caution: float
    ) -> npt.NDArray[np.float32]:
        """(messages,) what share of GPT-2's logits counts, for messages given as to `count`.

        All of them where the vocabulary covers a message, so that its tokens have two bytes or more
        on average; less by `caution` where each is one byte, as in a script that it does not know.
        """
        spelt = np.bincount(message, self.lengths[token_ids])
        covered = np.clip(spelt / np.bincount(message) - 1, 0, 1).astype(np.float32)
        return 1 - caution * (1 - covered)

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


def _words(spelt: Integers, message: Integers) -> tuple[Integers, Integers]:
    """A number for each word of the bytes of messages, and their messages.

    Around the bytes of each message are spaces, so that no word reaches into another message.
    """
    inside, visible = IN_WORDS[spelt], spelt != SPACE
    alone = BEGINS_ALONE[spelt]
    goes_on = inside & np.roll(inside, 1) & ~alone & ~np.roll(alone, 3)
    begins = ~goes_on[visible]
    first = np.flatnonzero(begins)
    place = np.arange(len(begins)) - first[begins.cumsum() - 1]
    parts = spelt[visible] * POWERS[place % len(POWERS)]
    return np.add.reduceat(parts, first) & BITS, message[visible][first]


def _keys(
    symbols: Integers, message: Integers, sizes: Iterable[int], first_bucket: int
) -> Iterable[Integers]:
    """For each n-gram of the sizes: its message times ALL_BUCKETS, plus its bucket."""
    for size in sizes:
        count = len(symbols) - size + 1
        if count < 1:
            return
        hashed = np.full(count, size)
        for place in range(size):
            hashed = ((hashed ^ symbols[place : place + count]) * PRIME) & BITS
        bucket = first_bucket + (hashed ^ (hashed >> 15)) % BUCKETS
        first, last = message[:count], message[size - 1 :]
        yield (first * ALL_BUCKETS + bucket)[first == last]
