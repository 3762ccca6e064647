from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spamgpt.gpt2.packing import pack

some_messages = st.lists(
    st.lists(st.integers(0, 50256), min_size=1, max_size=12), min_size=1, max_size=8
)


def test_messages_lie_end_to_end():
    packed = pack([[7, 8, 9], [5], [6, 4]])
    assert packed.token_ids.tolist() == [7, 8, 9, 5, 6, 4]
    assert packed.offsets.tolist() == [0, 3, 4, 6]
    assert packed.token_ids.dtype == packed.offsets.dtype == torch.int64


def test_every_token_knows_its_message_and_its_place_in_it():
    packed = pack([[7, 8, 9], [5], [6, 4]])
    assert len(packed) == 3
    assert packed.lengths.tolist() == [3, 1, 2]
    assert packed.longest == 3
    assert packed.last.tolist() == [2, 3, 5]
    assert packed.message.tolist() == [0, 0, 0, 1, 2, 2]
    assert packed.position.tolist() == [0, 1, 2, 0, 0, 1]


@settings(deadline=None)
@given(some_messages)
def test_slices_between_the_offsets_are_the_messages(messages):
    packed = pack(messages)
    bounds = packed.offsets.tolist()
    ids = packed.token_ids.tolist()
    assert [ids[a:b] for a, b in pairwise(bounds)] == messages
    assert [ids[place] for place in packed.last] == [message[-1] for message in messages]


def test_padding_puts_zeros_behind_each_message():
    packed = pack([[7, 8, 9], [5]])
    values = torch.tensor([[1.0, 2], [3, 4], [5, 6], [7, 8]])
    expected = [[[1, 2], [3, 4], [5, 6]], [[7, 8], [0, 0], [0, 0]]]
    assert packed.pad(values).tolist() == expected


@settings(deadline=None)
@given(some_messages)
def test_the_tokens_of_each_message_are_summed(messages):
    packed = pack(sorted(messages, key=len))
    sums = packed.sums(packed.token_ids[:, None].float())
    assert sums[:, 0].tolist() == [sum(message) for message in sorted(messages, key=len)]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_sums_on_a_gpu_are_the_same_every_time():
    gpu = torch.device("cuda")
    packed = pack([[7] * 20, [8] * 500]).to(gpu)
    values = torch.randn(520, 64, device=gpu)
    first = packed.sums(values)
    assert all(torch.equal(packed.sums(values), first) for _ in range(20))
    torch.testing.assert_close(first, torch.stack([values[:20].sum(0), values[20:].sum(0)]))


@settings(deadline=None)
@given(some_messages)
def test_unpadding_undoes_padding(messages):
    packed = pack(messages)
    values = torch.rand(len(packed.token_ids), 3)
    assert torch.equal(packed.unpad(packed.pad(values)), values)


def test_gradients_pass_through_padding_once_per_token():
    packed = pack([[7, 8, 9], [5]])
    values = torch.rand(4, 2, requires_grad=True)
    packed.unpad(packed.pad(values)).sum().backward()
    assert torch.equal(values.grad, torch.ones(4, 2))
    padded, wanted = torch.rand(2, 3, 2, requires_grad=True), torch.rand(4, 2)
    (packed.unpad(padded) * wanted).sum().backward()
    assert torch.equal(padded.grad, packed.pad(wanted))


@pytest.mark.parametrize("messages", [[], [[]], [[1], []]])
def test_nothing_at_all_and_empty_messages_are_refused(messages):
    with pytest.raises(ValueError, match="at least one token"):
        pack(messages)


def test_moving_to_a_device_takes_tokens_and_offsets():
    moved = pack([[7, 8], [5]]).to(torch.device("meta"))
    assert moved.token_ids.device.type == moved.offsets.device.type == "meta"


@settings(deadline=None)
@given(some_messages)
def test_padding_to_a_recurring_shape_only_adds_zeros(messages):
    packed = pack(messages)
    values = torch.arange(1.0, 1 + 2 * len(packed.token_ids)).reshape(-1, 2)
    plain, larger = packed.pad(values), packed.pad(values, recurring=True)
    assert torch.equal(larger[: len(packed), : packed.longest], plain)
    assert larger.sum() == plain.sum()
    assert torch.equal(packed.unpad(larger), values)


def test_shapes_to_pad_to_are_few_and_less_than_a_half_larger():
    found = {}
    for length in range(1, 1025):
        padded = pack([[0] * length]).pad(torch.ones(length, 1), recurring=True)
        assert padded.shape[0] == 1
        found[length] = padded.shape[1]
    assert all(length <= padded < 1.5 * length for length, padded in found.items())
    assert len(set(found.values())) < 22


@settings(deadline=None)
@given(st.lists(st.integers(1, 300), min_size=1, max_size=12).map(sorted), st.booleans())
def test_parts_hold_messages_of_similar_length_in_order(lengths, padded):
    own = [1 + length // 2 for length in lengths] if padded else None
    packed = pack([list(range(length)) for length in lengths], own)
    parts = packed.parts
    assert torch.equal(torch.cat([part.token_ids for part in parts]), packed.token_ids)
    assert torch.equal(torch.cat([part.lengths for part in parts]), packed.lengths)
    assert all(part.longest <= max(31, 2 * int(part.lengths.min())) for part in parts)
    if own:
        assert [n for part in parts for n in part.own_lengths.tolist()] == own


def test_only_messages_in_the_order_of_their_lengths_are_taken_apart():
    short, long = [1] * 20, [2] * 200
    assert len(pack([short, long]).parts) == 2
    unsorted = pack([long, short])
    assert unsorted.parts == [unsorted]


@pytest.mark.parametrize("recurring", [False, True])
def test_heads_are_those_of_padded_rows_and_come_back_as_they_were(recurring):
    packed = pack([[1] * 3, [2] * 9, [3] * 5])
    projected = torch.randn(17, 3 * 8)
    found = packed.to_heads(projected, 2, recurring)
    padded = packed.pad(projected, recurring)
    expected = padded.view(*padded.shape[:2], 3, 2, 4).permute(2, 0, 3, 1, 4)
    assert found.shape == expected.shape
    for message, length in enumerate((3, 9, 5)):
        assert torch.equal(found[:, message, :, :length], expected[:, message, :, :length])
    for part, wanted in zip(found, projected.chunk(3, dim=1), strict=True):
        assert torch.equal(packed.from_heads(part), wanted)
