import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.testing import assert_close

from spamgpt.gpt2.adapters import (
    LoraProjection,
    MergedTensors,
    adapter_parameters,
    add_adapters,
    merge_adapters,
)
from spamgpt.gpt2.backends.precision import lowered
from spamgpt.gpt2.classifier import GPT2Classifier
from spamgpt.gpt2.config import PROJECTIONS, GPT2Config, LoraConfig
from spamgpt.gpt2.model import GPT2
from spamgpt.gpt2.packing import pack
from spamgpt.gpt2.weights import load_gpt2

LORA = LoraConfig(rank=3, alpha=6.0, targets=PROJECTIONS)


@pytest.fixture
def make_gpt2(make_reference):
    folder = make_reference()[1]

    def make() -> GPT2:
        config = GPT2Config.from_file(folder / "config.json")
        return load_gpt2(config, folder / "model.safetensors")

    return make


def drawn(gpt2: GPT2) -> GPT2:
    """The same, with adapters that change something."""
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for matrix in adapter_parameters(gpt2):
            matrix.normal_(0, 0.3, generator=generator)
    return gpt2


@torch.no_grad()
def test_at_first_nothing_is_changed(make_gpt2, messages):
    packed, gpt2 = pack(messages), make_gpt2()
    before = GPT2Classifier(gpt2, 2)(packed)
    add_adapters(gpt2, 0, LORA)
    assert torch.equal(GPT2Classifier(gpt2, 2)(packed), before)


def test_adapters_are_where_they_are_asked_for(make_gpt2):
    gpt2 = make_gpt2()
    last = gpt2.config.n_layer - 1
    add_adapters(gpt2, last, LoraConfig(2, 2.0, ("attn.c_proj", "mlp.c_fc")))
    found = [n for n, module in gpt2.named_modules() if isinstance(module, LoraProjection)]
    assert found == [f"h.{last}.attn.c_proj", f"h.{last}.mlp.c_fc"]
    width = gpt2.config.n_embd
    shapes = [tuple(matrix.shape) for matrix in adapter_parameters(gpt2)]
    assert shapes == [(width, 2), (2, width), (width, 2), (2, 4 * width)]


def test_they_are_drawn_by_the_seed_as_linear_layers_are(make_gpt2):
    first, again, other = make_gpt2(), make_gpt2(), make_gpt2()
    for gpt2, seed in ((first, 1), (again, 1), (other, 2)):
        before = torch.random.get_rng_state()
        add_adapters(gpt2, 0, LORA, seed)
        assert torch.equal(torch.random.get_rng_state(), before)
    pairs = list(zip(adapter_parameters(first), adapter_parameters(again), strict=True))
    assert all(torch.equal(a, b) for a, b in pairs)
    a, b = adapter_parameters(first)[:2]
    assert not torch.equal(a, adapter_parameters(other)[0])
    assert b.abs().max() == 0
    bound = len(a) ** -0.5
    assert 0.7 * bound < a.abs().max() <= bound


def plain_forward(gpt2: GPT2, token_ids: list[int], adapters: dict[str, tuple[Tensor, Tensor]]):
    """(tokens, n_embd) by the formula: x W + b + (alpha / rank) (x A) B for every projection."""

    def project(x, name):
        module = gpt2.get_submodule(name).projection
        a, b = adapters[name]
        return x @ module.weight + module.bias + (LORA.alpha / LORA.rank) * ((x @ a) @ b)

    x = gpt2.wte.weight[token_ids] + gpt2.wpe.weight[: len(token_ids)]
    for number, block in enumerate(gpt2.h):
        place = f"h.{number}"
        projected = project(block.ln_1(x), f"{place}.attn.c_attn")
        query, key, value = (
            part.unflatten(1, (gpt2.config.n_head, -1)).transpose(0, 1)
            for part in projected.chunk(3, dim=1)
        )
        attended = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + project(attended.transpose(0, 1).flatten(1), f"{place}.attn.c_proj")
        hidden = F.gelu(project(block.ln_2(x), f"{place}.mlp.c_fc"), approximate="tanh")
        x = x + project(hidden, f"{place}.mlp.c_proj")
    return gpt2.ln_f(x)


def test_adapted_logits_and_gradients_are_those_of_the_formula(make_gpt2, messages):
    gpt2 = make_gpt2()
    add_adapters(gpt2, 0, LORA)
    gpt2 = drawn(gpt2).double()
    classifier = GPT2Classifier(gpt2, 2).double()
    matrices = {
        name: (
            module.lora_A.detach().clone().requires_grad_(),
            module.lora_B.detach().clone().requires_grad_(),
        )
        for name, module in gpt2.named_modules()
        if isinstance(module, LoraProjection)
    }
    expected = torch.stack([plain_forward(gpt2, ids, matrices)[-1] for ids in messages])
    expected = classifier.head(expected)
    found = classifier(pack(messages))
    assert_close(found, expected, atol=1e-9, rtol=0)
    weight = torch.rand(found.shape, dtype=torch.float64)
    adapters = [m for m in gpt2.modules() if isinstance(m, LoraProjection)]
    of_found = torch.autograd.grad((found * weight).sum(), adapter_parameters(gpt2))
    plain = [matrix for pair in matrices.values() for matrix in pair]
    of_expected = torch.autograd.grad((expected * weight).sum(), plain)
    assert len(adapters) == 4 * gpt2.config.n_layer
    for ours, theirs in zip(of_found, of_expected, strict=True):
        assert theirs.abs().max() > 0
        assert_close(ours, theirs, atol=1e-9, rtol=1e-7)


@torch.no_grad()
def test_merged_the_logits_are_the_same_and_no_adapter_is_left(make_gpt2, messages):
    packed, gpt2 = pack(messages), make_gpt2()
    names = gpt2.state_dict().keys()
    add_adapters(gpt2, 0, LORA)
    before = GPT2Classifier(drawn(gpt2), 2)(packed)
    unmerged = dict(gpt2.state_dict())
    merge_adapters(gpt2)
    assert_close(GPT2Classifier(gpt2, 2)(packed), before, atol=1e-5, rtol=1e-5)
    assert gpt2.state_dict().keys() == names
    # Also of a file's tensors, which have no module around them.
    stored = {name.replace(".projection.", "."): tensor for name, tensor in unmerged.items()}
    merged = MergedTensors(stored, LORA)
    assert merged.keys() == names
    assert len(merged) == len(names)
    assert all(torch.equal(merged[name], tensor) for name, tensor in gpt2.state_dict().items())


@torch.no_grad()
def test_lowering_merges_what_it_lowers(make_gpt2, messages):
    gpt2 = make_gpt2()
    depth = gpt2.config.n_layer
    add_adapters(gpt2, 0, LORA)
    low = lowered(drawn(gpt2), depth, torch.bfloat16)
    merge_adapters(low)
    merge_adapters(gpt2)
    again = lowered(gpt2, depth, torch.bfloat16)
    packed = pack(messages)
    assert torch.equal(low.last_hidden_states(packed), again.last_hidden_states(packed))
