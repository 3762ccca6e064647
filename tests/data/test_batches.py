from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spamgpt.bundled import MINI_FOLDER
from spamgpt.data.batches import (
    MOST_WINDOWS,
    TokenizedMessages,
    batches_by_length,
    shuffled_batches,
    tokenize,
    tokenize_in_windows,
    tokens_per_batch,
)
from spamgpt.gpt2.tokenizer import Tokenizer


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_folder(MINI_FOLDER)


lengths = st.lists(st.integers(1, 50), min_size=1, max_size=60)


def messages_of(sizes: list[int]) -> TokenizedMessages:
    return TokenizedMessages([[1] * size for size in sizes], [False] * len(sizes))


def test_a_message_longer_than_the_context_keeps_its_first_tokens_and_is_told(make_model):
    tokenizer = Tokenizer.from_folder(make_model())
    messages = tokenize(["abcdef", "abc", ""], tokenizer, context=3)
    assert messages.token_ids[0] == messages.token_ids[1] == tokenizer.encode(["abc"])[0]
    assert messages.truncated == [True, False, False]
    assert len(messages.token_ids[2]) == 1


@given(sizes=lengths, limit=st.integers(1, 120))
def test_batches_by_length_hold_every_message_once_within_the_budget(sizes, limit):
    batches = list(batches_by_length(messages_of(sizes), limit))
    assert sorted(index for batch in batches for index in batch) == list(range(len(sizes)))
    for batch in batches:
        assert len(batch) == 1 or sum(sizes[index] for index in batch) <= limit


def test_messages_are_batched_in_the_order_of_their_lengths():
    assert list(batches_by_length(messages_of([9, 1, 8, 2]), 11)) == [[1, 3, 2], [0]]


@given(messages=st.integers(1, 50), size=st.integers(1, 20), epoch=st.integers(1, 9))
def test_an_epoch_holds_every_message_once_and_can_be_drawn_again(messages, size, epoch):
    batches = shuffled_batches(messages, size, seed=7, epoch=epoch)
    assert sorted(index for batch in batches for index in batch) == list(range(messages))
    assert all(len(batch) == size for batch in batches[:-1])
    assert batches == shuffled_batches(messages, size, seed=7, epoch=epoch)


def test_epochs_and_seeds_differ():
    first = shuffled_batches(50, 8, seed=1, epoch=1)
    assert first != shuffled_batches(50, 8, seed=1, epoch=2)
    assert first != shuffled_batches(50, 8, seed=2, epoch=1)


def test_a_gpu_computes_with_as_many_tokens_as_its_memory_and_the_width_allow(monkeypatch):
    free = 0
    cuda = SimpleNamespace(
        mem_get_info=lambda device: (free, 80 << 30),
        memory_reserved=lambda device: 3 << 20,
        memory_allocated=lambda device: 2 << 20,
    )
    monkeypatch.setattr(torch, "cuda", cuda)
    device = torch.device("cuda")
    assert tokens_per_batch(torch.device("cpu"), 768) == 4_096
    free = 70 << 30
    assert tokens_per_batch(device, 768) == tokens_per_batch(device, 1600) == 32_768
    free = 4 << 30
    narrow, wide = tokens_per_batch(device, 768), tokens_per_batch(device, 1600)
    assert 4_096 < wide < narrow < 32_768
    free -= 1 << 20  # a little less is no other batch
    assert tokens_per_batch(device, 768) == narrow
    free = 0
    assert tokens_per_batch(device, 768) == 4_096


def test_padding_stands_behind_a_message_and_is_known_from_it():
    messages = TokenizedMessages([[1, 2], [3], [9]], [False, True, False]).padded(3, 9)
    packed = messages.pack([1, 0])
    assert packed.token_ids.tolist() == [3, 9, 9, 1, 2, 9]
    assert packed.own_lengths.tolist() == [1, 2]
    assert (packed.last.tolist(), packed.last_own.tolist()) == ([2, 5], [0, 4])
    assert packed.to(torch.device("cpu")).own_lengths.tolist() == [1, 2]
    assert messages.truncated == [False, True, False]


def test_what_is_cut_is_told():
    messages = TokenizedMessages([[1, 2, 3], [4, 5], [6]], [False, False, True])
    assert messages.cut(2) == TokenizedMessages([[1, 2], [4, 5], [6]], [True, False, True])


@given(words=st.integers(0, 60), context=st.integers(1, 20))
def test_a_message_is_covered_by_the_fewest_windows_as_long_as_they_are_few(
    tokenizer, words, context
):
    texts = ["ab " * words]
    cut = tokenize_in_windows(texts, tokenizer, context)
    (whole,) = tokenizer.encode(texts)
    covering = -(-len(whole) // context)
    assert cut.counts == [min(covering, MOST_WINDOWS)]
    assert cut.left_out == [covering - cut.counts[0]]
    windows = cut.messages.token_ids
    assert windows == [whole[start : start + context] for start in cut.starts]
    assert {len(window) for window in windows} == {min(context, len(whole))}
    assert (cut.starts[0], cut.starts[-1]) == (0, max(0, len(whole) - context))
    gaps = [after - before for before, after in pairwise(cut.starts)]
    assert max(gaps, default=0) - min(gaps, default=0) <= 1
    if covering <= MOST_WINDOWS:
        assert max(gaps, default=0) <= context
