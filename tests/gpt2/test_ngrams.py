import math
import re
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spamgpt.gpt2.ngram_counts import ALL_BUCKETS, BUCKETS
from spamgpt.gpt2.ngrams import NGrams
from spamgpt.gpt2.packing import pack

# Token ids 0 to 7 of a vocabulary of their own; the one without bytes is the end of a text.
SPELLINGS = [b"Win", b" cash", b"!", b"\n", "é".encode(), b"", b"_7" * 40, "中奖".encode()]
MESSAGES = st.lists(
    st.lists(st.integers(0, len(SPELLINGS) - 1), min_size=1, max_size=12), min_size=1, max_size=5
)


def bucket(symbols) -> int:
    """FNV-1a of 32 bits over symbols, begun with how many they are, folded into the buckets."""
    value = len(symbols)
    for symbol in symbols:
        value = ((value ^ symbol) * 0x01000193) % 2**32
    return (value ^ (value >> 15)) % BUCKETS


def expected(token_ids) -> Counter:
    text = b" " + b"".join(SPELLINGS[token_id] for token_id in token_ids) + b" "
    text = bytes(text).lower().replace(b"\n", b" ")
    found = Counter()
    for size in range(2, 6):
        found.update(bucket(text[at : at + size]) for at in range(len(text) - size + 1))
    for size in range(1, 4):
        for at in range(len(token_ids) - size + 1):
            found[BUCKETS + bucket(token_ids[at : at + size])] += 1
    # A Chinese character is a word.
    letters = rb"[\xe3-\xe9][\x80-\xbf]{2}|[a-z0-9_\x80-\xe2\xea-\xff]+"
    words = [number(word) for word in re.findall(letters + rb"|[^ ]", text)]
    for size in range(1, 3):
        for at in range(len(words) - size + 1):
            found[2 * BUCKETS + bucket(words[at : at + size])] += 1
    return found


def number(word: bytes) -> int:
    """The bytes of a word as digits of a number of base 0x01000193, in 32 bits."""
    return sum(byte * 0x01000193 ** (place % 64 + 1) for place, byte in enumerate(word)) % 2**32


def random_model(labels: int = 2) -> NGrams:
    model = NGrams(SPELLINGS, labels)
    generator = torch.Generator().manual_seed(1)
    for parameter in (model.weight, model.bias):
        parameter.data.normal_(generator=generator)
    model.idf.data.uniform_(1, 9, generator=generator)
    return model


@given(MESSAGES)
def test_the_n_grams_are_counted_as_a_loop_counts_them(messages):
    message, bucket, count = NGrams(SPELLINGS, 2).counts(pack(messages))
    for number, token_ids in enumerate(messages):
        own = message == number
        found = dict(zip(bucket[own].tolist(), count[own].tolist(), strict=True))
        assert found == expected(token_ids)


def test_what_is_written_without_spaces_has_a_word_for_each_character():
    spellings = [bytes([byte]) for byte in range(256)]
    apart, together = ("中 奖 win カ ー ド 1", "中奖winカード1")
    words = []
    for text in (apart, together):
        buckets = NGrams(spellings, 2).counts(pack([list(text.encode())]))[1]
        words.append(buckets[buckets >= 2 * BUCKETS].tolist())
    assert words[0] == words[1]


def test_a_feature_is_scaled_by_all_of_its_kind_in_its_message():
    model, token_ids = random_model(), [0, 1, 1, 2]
    _, buckets, values = model.features(pack([token_ids]))
    raw = {b: (1 + math.log(n)) * model.idf[b].item() for b, n in expected(token_ids).items()}
    for kind in (range(first, first + BUCKETS) for first in range(0, ALL_BUCKETS, BUCKETS)):
        norm = math.sqrt(sum(value**2 for b, value in raw.items() if b in kind))
        for b, value in zip(buckets.tolist(), values.tolist(), strict=True):
            if b in kind:
                assert value == pytest.approx(raw[b] / norm, rel=1e-5)


@given(MESSAGES)
def test_no_answer_depends_on_the_messages_beside_it(messages):
    model = random_model(labels=3)
    with torch.no_grad():
        together = model(pack(messages))
        alone = torch.cat([model(pack([token_ids])) for token_ids in messages])
    assert together.shape == (len(messages), 3)
    assert torch.equal(together[:, 0], torch.zeros(len(messages)))
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-6)


def test_what_was_never_seen_adds_nothing():
    model = NGrams(SPELLINGS, 2)
    model.bias.data.fill_(0.5)
    model.weight.data.fill_(3.0)
    with torch.no_grad():
        assert model(pack([[0, 1], [5]])).tolist() == [[0.0, 0.5], [0.0, 0.5]]


@pytest.mark.parametrize(
    ("token_ids", "coverage"),
    [([2, 3, 2], 0), ([2, 4], 0.5), ([2, 5], 0), ([0, 2, 2], 2 / 3), ([0, 1], 1), ([6], 1)],
)
def test_with_caution_gpt2_counts_as_far_as_its_vocabulary_covers_the_message(token_ids, coverage):
    model, packed = random_model(), pack([token_ids, [0, 1]])
    logits = torch.tensor([[1.0, -2.0], [3.0, 4.0]])
    with torch.no_grad():
        torch.testing.assert_close(model.beside(logits, packed), logits + model(packed))
        model.caution.fill_(1)
        cautious = logits * torch.tensor([[coverage], [1.0]])
        torch.testing.assert_close(model.beside(logits, packed), cautious + model(packed))
        model.caution.fill_(0.5)
        cautious = logits * torch.tensor([[(1 + coverage) / 2], [1.0]])
        torch.testing.assert_close(model.beside(logits, packed), cautious + model(packed))
