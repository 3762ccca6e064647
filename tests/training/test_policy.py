import contextlib

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spamgpt.errors import UsageError
from spamgpt.gpt2.classifier import GPT2Classifier
from spamgpt.gpt2.config import GPT2Config, LoraConfig
from spamgpt.gpt2.model import GPT2
from spamgpt.reporting import Reporter
from spamgpt.training.policy import Part, TrainingPolicy, show_parts

EMBEDDINGS = ["gpt2.wte.", "gpt2.wpe."]
BLOCKS = [f"gpt2.h.{index}." for index in range(4)]
NORM_AND_HEAD = ["gpt2.ln_f.", "head."]

# What each policy trains of a model with four blocks.
POLICIES = {
    "head": ["head."],
    "last-block": [*BLOCKS[3:], *NORM_AND_HEAD],
    "last-1-blocks": [*BLOCKS[3:], *NORM_AND_HEAD],
    "last-2-blocks": [*BLOCKS[2:], *NORM_AND_HEAD],
    "last-4-blocks": [*BLOCKS, *NORM_AND_HEAD],
    "all": [*EMBEDDINGS, *BLOCKS, *NORM_AND_HEAD],
}


def classifier(n_layer: int = 4, n_head: int = 2, n_embd: int = 16, **shape) -> GPT2Classifier:
    with torch.device("meta"):
        return GPT2Classifier(GPT2(GPT2Config(n_layer, n_head, n_embd, **shape)), labels=2)


def unfreeze(model: GPT2Classifier, policy: str) -> list[Part]:
    return TrainingPolicy.from_name(policy, model.gpt2.config.n_layer).apply(model)


@pytest.mark.parametrize("before", ["head", "all"])
@pytest.mark.parametrize("policy", POLICIES)
def test_a_policy_trains_its_tensors_and_no_others_whatever_was_set_before(policy, before):
    model = classifier()
    unfreeze(model, before)
    unfreeze(model, policy)
    trained = {name for name, tensor in model.named_parameters() if tensor.requires_grad}
    prefixes = tuple(POLICIES[policy])
    assert TrainingPolicy.from_name(policy, 4).trained(model).keys() == trained
    assert trained == {name for name, _ in model.named_parameters() if name.startswith(prefixes)}


@pytest.mark.parametrize("policy", POLICIES)
def test_the_parts_add_up_to_the_model(policy):
    model = classifier()
    parts = unfreeze(model, policy)
    parameters = list(model.parameters())
    assert sum(part.tensors for part in parts) == len(parameters)
    assert sum(part.parameters for part in parts) == sum(p.numel() for p in parameters)
    for_training = [p for p in parameters if p.requires_grad]
    assert sum(part.tensors for part in parts if part.trained) == len(for_training)
    trained = sum(part.parameters for part in parts if part.trained)
    assert trained == sum(p.numel() for p in for_training)


def test_last_block_of_gpt2_trains_7_090_946_of_124_441_346_parameters():
    parts = unfreeze(classifier(n_layer=12, n_head=12, n_embd=768), "last-block")
    assert parts == [
        Part("embeddings", 2, 39_383_808, trained=False),
        Part("blocks 1-11", 132, 77_966_592, trained=False),
        Part("block 12", 12, 7_087_872, trained=True),
        Part("final layer norm", 2, 1_536, trained=True),
        Part("head", 2, 1_538, trained=True),
    ]
    assert sum(part.parameters for part in parts if part.trained) == 7_090_946
    assert sum(part.parameters for part in parts) == 124_441_346


@pytest.mark.parametrize(
    ("policy", "names"),
    [
        ("head", ["embeddings", "blocks 1-4", "final layer norm", "head"]),
        ("last-2-blocks", ["embeddings", "blocks 1-2", "blocks 3-4", "final layer norm", "head"]),
        ("last-3-blocks", ["embeddings", "block 1", "blocks 2-4", "final layer norm", "head"]),
        ("all", ["embeddings", "blocks 1-4", "final layer norm", "head"]),
    ],
)
def test_parts_are_named_in_order_and_none_is_empty(policy, names):
    assert [part.name for part in unfreeze(classifier(), policy)] == names


@pytest.mark.parametrize(
    ("policy", "blocks"),
    [("head", 0), ("last-block", 1), ("last-3-blocks", 3), ("last-12-blocks", 12), ("all", 12)],
)
def test_policies_count_blocks_from_the_output(policy, blocks):
    chosen = TrainingPolicy.from_name(policy, n_layer=12)
    assert chosen.trained_blocks == blocks
    assert chosen.frozen_blocks == 12 - blocks


@pytest.mark.parametrize(
    "policy",
    ["", "last", "last-0-blocks", "last--1-blocks", "last-01-blocks", "last-٢-blocks", "ALL"],
)
def test_an_unknown_policy_is_refused_with_the_known_ones(policy):
    with pytest.raises(UsageError, match="none of head, last-block, last-N-blocks, all") as caught:
        TrainingPolicy.from_name(policy, n_layer=12)
    assert "`unfreeze` is head, last-block" in caught.value.hint


def test_more_blocks_than_there_are_is_refused_and_leaves_the_model_as_it_was():
    model = classifier()
    unfreeze(model, "head")
    with pytest.raises(UsageError, match="the model has 4 blocks"):
        unfreeze(model, "last-5-blocks")
    assert {n for n, p in model.named_parameters() if p.requires_grad} == {
        "head.weight",
        "head.bias",
    }


@settings(deadline=None)
@given(st.text() | st.integers().map(lambda blocks: f"last-{blocks}-blocks"))
def test_any_text_is_a_policy_or_a_usage_error(policy):
    with contextlib.suppress(UsageError):
        assert 0 <= TrainingPolicy.from_name(policy, n_layer=4).trained_blocks <= 4


def test_the_table_tells_each_part_and_its_share():
    rows = []

    class Listener(Reporter):
        def table(self, *columns: str):
            return lambda *cells: rows.append(cells)

    show_parts(unfreeze(classifier(n_layer=12, n_head=12, n_embd=768), "last-block"), Listener())
    assert rows[2] == ("block 12", "12", "7,087,872", "5.70%", "trained")
    assert [row[4] for row in rows] == ["frozen", "frozen", "trained", "trained", "trained"]


LORA = LoraConfig(2, 4.0, ("attn.c_attn", "mlp.c_proj"))


@pytest.mark.parametrize(
    ("policy", "blocks"), [("all", 4), ("last-3-blocks", 3), ("last-block", 1)]
)
def test_with_adapters_they_and_the_head_train_in_the_blocks_of_the_policy(policy, blocks):
    model = classifier()
    chosen = TrainingPolicy.from_name(policy, 4, LORA)
    parts = chosen.apply(model)
    assert chosen.apply(model) == parts  # adapters that are there stay
    assert chosen.frozen_blocks == 4 - blocks
    assert chosen.trained(model).keys() == {"head.weight", "head.bias"} | {
        f"gpt2.h.{block}.{target}.{matrix}"
        for block in range(4 - blocks, 4)
        for target in LORA.targets
        for matrix in ("lora_A", "lora_B")
    }
    assert [part.name for part in parts if part.trained] == ["adapters", "head"]
    of_adapters = next(part for part in parts if part.name == "adapters")
    assert of_adapters.tensors == 4 * blocks
    assert of_adapters.parameters == blocks * 2 * (16 + 48 + 64 + 16)
    assert sum(part.parameters for part in parts) == sum(p.numel() for p in model.parameters())


def test_adapters_need_a_block():
    with pytest.raises(UsageError, match="`unfreeze=head` trains none"):
        TrainingPolicy.from_name("head", 4, LORA)
