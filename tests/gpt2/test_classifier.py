from itertools import product
from typing import get_args

import pytest
import torch
from torch.testing import assert_close

from spamgpt.gpt2.classifier import GPT2Classifier, hidden_states_for, keeps_one_row
from spamgpt.gpt2.config import GPT2Config
from spamgpt.gpt2.folder import load_folder
from spamgpt.gpt2.model import GPT2
from spamgpt.gpt2.packing import pack
from spamgpt.gpt2.pooling import OVER_PADDING, AttentionPattern, Pooling, sees_padding
from spamgpt.gpt2.weights import load_gpt2


def small_gpt2(n_embd: int = 16) -> GPT2:
    return GPT2(GPT2Config(n_layer=1, n_head=2, n_embd=n_embd, vocab_size=20, n_positions=8))


@pytest.fixture
def make_classifier(make_reference):
    """A classifier with the weights and head of a sequence classifier of transformers."""

    def make(labels: int) -> tuple[GPT2Classifier, torch.nn.Module]:
        reference, folder = make_reference("GPT2ForSequenceClassification", num_labels=labels)
        config = GPT2Config.from_file(folder / "config.json")
        classifier = GPT2Classifier(load_gpt2(config, folder / "model.safetensors"), labels)
        with torch.no_grad():
            classifier.head.weight.copy_(reference.score.weight)
            classifier.head.bias.zero_()
        return classifier, reference

    return make


@pytest.mark.parametrize("labels", [2, 5])
@torch.no_grad()
def test_logits_agree_with_the_sequence_classifier_of_transformers(
    labels, make_classifier, messages, shape
):
    classifier, reference = make_classifier(labels)
    padded = torch.full((len(messages), shape["n_positions"]), shape["vocab_size"] - 1)
    for row, message in zip(padded, messages, strict=True):
        row[: len(message)] = torch.tensor(message)
    assert_close(classifier(pack(messages)), reference(padded).logits, atol=1e-4, rtol=0)


@torch.no_grad()
def test_logits_do_not_depend_on_the_neighbours_or_the_order(make_classifier, messages):
    classifier, _ = make_classifier(3)
    alone = torch.cat([classifier(pack([message])) for message in messages])
    assert_close(classifier(pack(messages)), alone, atol=1e-5, rtol=0)
    assert_close(classifier(pack(messages[::-1])).flip(0), alone, atol=1e-5, rtol=0)


@torch.no_grad()
def test_the_bias_of_the_head_is_added(make_classifier, messages):
    classifier, _ = make_classifier(2)
    before = classifier(pack(messages))
    classifier.head.bias += torch.tensor([1.0, -2.0])
    assert_close(classifier(pack(messages)), before + torch.tensor([1.0, -2.0]))


@pytest.mark.parametrize("labels", [2, 3, 40])
def test_there_is_one_logit_for_each_label(labels):
    assert GPT2Classifier(small_gpt2(), labels)(pack([[1, 2], [3]])).shape == (2, labels)


@pytest.mark.parametrize("labels", [1, 0, -1])
def test_fewer_than_two_labels_are_refused(labels):
    with pytest.raises(ValueError, match="at least 2 labels"):
        GPT2Classifier(small_gpt2(), labels)


def test_an_unknown_pooling_or_attention_is_refused():
    assert GPT2Classifier(small_gpt2(), 2, pooling="last").pooling == "last"
    with pytest.raises(ValueError, match="pooling 'middle' is none of last, first, mean"):
        GPT2Classifier(small_gpt2(), 2, pooling="middle")
    with pytest.raises(ValueError, match="attention 'half' is none of causal, full"):
        GPT2Classifier(small_gpt2(), 2, attention="half")


@pytest.mark.parametrize("seed", [123, 7])
def test_the_head_starts_as_a_linear_layer_made_right_after_seeding(seed):
    torch.manual_seed(seed)
    expected = torch.nn.Linear(768, 2)
    torch.rand(5)
    head = GPT2Classifier(small_gpt2(n_embd=768), labels=2, seed=seed).head
    assert torch.equal(head.weight, expected.weight)
    assert torch.equal(head.bias, expected.bias)


def test_the_default_seed_is_the_published_one():
    by_default = GPT2Classifier(small_gpt2(), labels=2).head
    assert torch.equal(by_default.weight, GPT2Classifier(small_gpt2(), 2, seed=123).head.weight)


def test_making_a_head_leaves_the_random_state_of_the_caller():
    gpt2 = small_gpt2()
    before = torch.get_rng_state()
    GPT2Classifier(gpt2, labels=2)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_making_a_head_leaves_the_random_state_of_the_gpu():
    before = torch.cuda.get_rng_state()
    GPT2Classifier(small_gpt2(), labels=2)
    assert torch.equal(torch.cuda.get_rng_state(), before)


@pytest.mark.network
@torch.no_grad()
def test_the_real_gpt2_with_a_fresh_head_gives_the_published_logits(published_gpt2):
    gpt2, tokenizer = load_folder(published_gpt2)
    (token_ids,) = tokenizer.encode(["Do you have time"])
    assert token_ids == [5211, 345, 423, 640]
    # What a causal model says at each token is what it says of the message that ends there.
    prefixes = [token_ids[:length] for length in range(1, 5)]
    logits = GPT2Classifier(gpt2, labels=2, seed=123)(pack(prefixes))
    expected = [[-1.5854, 0.9904], [-3.7235, 7.4548], [-2.2661, 6.6049], [-3.5983, 3.9902]]
    assert_close(logits, torch.tensor(expected), atol=1e-3, rtol=0)


# Every way to read a message: what the head reads, what a token sees, padding or none.
READINGS = [
    reading
    for reading in product(get_args(Pooling), get_args(AttentionPattern), (False, True))
    if reading[0] not in OVER_PADDING or reading[2]
]


def plain_hidden_states(reference, token_ids: list[int], attention: str) -> torch.Tensor:
    """(tokens, n_embd) of one message by the modules of transformers, attention written out."""
    x = reference.wte(torch.tensor(token_ids)) + reference.wpe.weight[: len(token_ids)]
    later = torch.ones(len(x), len(x), dtype=torch.bool).triu(1)
    for block in reference.h:
        query, key, value = (
            part.unflatten(1, (block.attn.num_heads, -1)).transpose(0, 1)
            for part in block.attn.c_attn(block.ln_1(x)).chunk(3, dim=1)
        )
        scores = query @ key.transpose(1, 2) / query.shape[-1] ** 0.5
        if attention == "causal":
            scores = scores.masked_fill(later, float("-inf"))
        x = x + block.attn.c_proj((scores.softmax(2) @ value).transpose(0, 1).flatten(1))
        x = x + block.mlp(block.ln_2(x))
    return reference.ln_f(x)


def plain_pooled(reference, token_ids: list[int], own: int, pooling: str, attention: str):
    """(n_embd,): what the head reads of one message, all its positions computed."""
    x = plain_hidden_states(reference, token_ids, attention)
    return {
        "last": x[own - 1],
        "first": x[0],
        "mean": x[:own].mean(0),
        "last-position": x[-1],
        "mean-positions": x.mean(0),
    }[pooling]


@torch.no_grad()
def test_the_plain_way_is_that_of_transformers(make_reference, messages):
    reference, _ = make_reference("GPT2Model")
    for message in messages:
        expected = reference(torch.tensor([message])).last_hidden_state[0]
        assert_close(plain_hidden_states(reference, message, "causal"), expected, atol=1e-4, rtol=0)


def padded(messages: list[list[int]], shape) -> tuple[list[list[int]], list[int]]:
    length, end_of_text = shape["n_positions"], shape["vocab_size"] - 1
    return [ids + [end_of_text] * (length - len(ids)) for ids in messages], list(map(len, messages))


@pytest.mark.parametrize(("pooling", "attention", "with_padding"), READINGS)
def test_every_reading_is_that_of_transformers_written_out_and_so_are_its_gradients(
    pooling, attention, with_padding, make_reference, messages, shape
):
    reference, folder = make_reference("GPT2Model")
    config = GPT2Config.from_file(folder / "config.json")
    gpt2 = load_gpt2(config, folder / "model.safetensors").double()
    classifier = GPT2Classifier(gpt2, 2, pooling=pooling, attention=attention)
    reference.double()
    own = [len(ids) for ids in messages]
    packed = pack(messages)
    if with_padding:
        messages, own = padded(messages, shape)
        packed = pack(messages, own)
    expected = torch.stack(
        [
            plain_pooled(reference, ids, length, pooling, attention)
            for ids, length in zip(messages, own, strict=True)
        ]
    )
    found = classifier.pooled(packed)
    assert_close(found, expected, atol=1e-9, rtol=0)
    weight = torch.rand(found.shape, dtype=torch.float64)
    (found * weight).sum().backward()
    (expected * weight).sum().backward()
    for name, parameter in reference.named_parameters():
        gradient = gpt2.get_parameter(name).grad
        # Of what is not read at all there is none.
        wanted = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        assert_close(gradient, wanted, atol=1e-9, rtol=1e-7, msg=name)


@pytest.mark.parametrize(("pooling", "attention", "with_padding"), READINGS)
@torch.no_grad()
def test_what_a_depth_keeps_is_all_that_the_blocks_after_it_need(
    pooling, attention, with_padding, make_reference, messages, shape
):
    _, folder = make_reference("GPT2Model")
    config = GPT2Config.from_file(folder / "config.json")
    gpt2 = load_gpt2(config, folder / "model.safetensors").double()
    classifier = GPT2Classifier(gpt2, 2, pooling=pooling, attention=attention).double()
    packed = pack(*padded(messages, shape)) if with_padding else pack(messages)
    whole = classifier(packed)
    for depth in range(1, config.n_layer + 1):
        kept = hidden_states_for(pooling, gpt2, packed, depth)
        rows = len(messages) if keeps_one_row(pooling, gpt2, depth) else len(packed.token_ids)
        assert kept.shape == (rows, config.n_embd)
        assert_close(classifier(packed, depth, kept), whole, atol=1e-9, rtol=0)


@pytest.mark.parametrize(("pooling", "attention", "with_padding"), READINGS)
@torch.no_grad()
def test_padding_matters_exactly_where_it_is_seen(
    pooling, attention, with_padding, make_reference, messages, shape
):
    _, folder = make_reference("GPT2Model")
    config = GPT2Config.from_file(folder / "config.json")
    gpt2 = load_gpt2(config, folder / "model.safetensors")
    classifier = GPT2Classifier(gpt2, 2, pooling=pooling, attention=attention)
    of_padded, plain = classifier(pack(*padded(messages, shape))), classifier(pack(messages))
    same = torch.allclose(of_padded, plain, atol=1e-3)
    assert same != sees_padding(pooling, attention)


@torch.no_grad()
def test_a_first_token_that_sees_itself_alone_is_all_that_is_computed(make_classifier, messages):
    classifier, _ = make_classifier(2)
    classifier.pooling = "first"
    rows = []
    for block in classifier.gpt2.blocks(0):
        block.mlp.register_forward_pre_hook(lambda _, inputs: rows.append(len(inputs[0])))
    classifier(pack(messages))
    assert set(rows) == {len(messages)}


@pytest.mark.parametrize("attention", ["causal", "full"])
@torch.no_grad()
def test_one_token_is_read_without_computing_the_others_in_the_last_block(
    attention, make_classifier, messages
):
    classifier, _ = make_classifier(2)
    classifier.gpt2.attention, classifier.pooling = attention, "last"
    rows = []
    last = classifier.gpt2.blocks(-1)[0]
    for module in (last.attn.c_proj, last.mlp, classifier.gpt2.ln_f):
        module.register_forward_pre_hook(lambda _, inputs: rows.append(len(inputs[0])))
    classifier(pack(messages))
    assert rows == [len(messages)] * 3
