import pytest
import torch
from torch import nn
from torch.testing import assert_close

from spamgpt.gpt2.backends.precision import lowered
from spamgpt.gpt2.config import GPT2Config
from spamgpt.gpt2.folder import load_folder
from spamgpt.gpt2.model import GPT2, Projection
from spamgpt.gpt2.packing import pack
from spamgpt.gpt2.weights import load_gpt2, random_weights


@pytest.fixture
def gpt2(make_reference) -> GPT2:
    return load(make_reference()[1])


def load(folder) -> GPT2:
    return load_gpt2(GPT2Config.from_file(folder / "config.json"), folder / "model.safetensors")


@pytest.mark.parametrize("kind", ["GPT2Model", "GPT2LMHeadModel"])
@torch.no_grad()
def test_hidden_states_of_all_tokens_agree_with_transformers(kind, make_reference, messages):
    reference, folder = make_reference(kind)
    trunk = getattr(reference, "transformer", reference)
    expected = [trunk(torch.tensor([message])).last_hidden_state[0] for message in messages]
    assert_close(load(folder)(pack(messages)), torch.cat(expected), atol=1e-4, rtol=0)


@torch.no_grad()
def test_last_hidden_states_are_the_hidden_states_of_the_last_tokens(gpt2, messages):
    packed = pack(messages)
    assert_close(gpt2.last_hidden_states(packed), gpt2(packed)[packed.last], atol=1e-5, rtol=0)


@torch.no_grad()
def test_a_message_does_not_depend_on_its_neighbours_or_the_order(gpt2, messages):
    together = gpt2.last_hidden_states(pack(messages))
    reversed_order = gpt2.last_hidden_states(pack(messages[::-1])).flip(0)
    alone = torch.cat([gpt2.last_hidden_states(pack([message])) for message in messages])
    assert_close(together, alone, atol=1e-5, rtol=0)
    assert_close(reversed_order, alone, atol=1e-5, rtol=0)
    all_alone = torch.cat([gpt2(pack([message])) for message in messages])
    assert_close(gpt2(pack(messages)), all_alone, atol=1e-5, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("attention", ["causal", "full"])
def test_messages_taken_apart_by_length_are_read_as_together(attention):
    config = GPT2Config(n_layer=2, n_head=2, n_embd=16, vocab_size=32, n_positions=128)
    gpt2 = GPT2(config)
    gpt2.load_state_dict(random_weights(config, seed=1))
    gpt2.attention = attention
    ascending = [[7] * 3, [8] * 40, [9, 1] * 45]
    assert len(pack(ascending).parts) == 3
    one, two, three = gpt2(pack(ascending)).split([3, 40, 90])
    together = gpt2(pack([ascending[2], ascending[0], ascending[1]]))
    assert_close(torch.cat([three, one, two]), together, atol=1e-5, rtol=1e-5)
    last = gpt2.last_hidden_states(pack(ascending))
    assert_close(last, torch.stack([one[-1], two[-1], three[-1]]), atol=1e-5, rtol=1e-5)


def test_a_token_does_not_depend_on_those_after_it(gpt2, messages):
    longest = max(messages, key=len)
    whole = gpt2(pack([longest]))
    prefixes = [longest[:length] for length in range(1, len(longest) + 1)]
    assert_close(gpt2.last_hidden_states(pack(prefixes)), whole, atol=1e-5, rtol=0)


def test_gradients_of_the_short_path_are_those_of_the_plain_path(gpt2, messages):
    gpt2.double()
    packed = pack(messages)
    weight = torch.rand(len(packed), gpt2.config.n_embd, dtype=torch.float64)
    parameters = dict(gpt2.named_parameters())

    def gradients(last_hidden_states):
        values = torch.autograd.grad((last_hidden_states * weight).sum(), parameters.values())
        return dict(zip(parameters, values, strict=True))

    short = gradients(gpt2.last_hidden_states(packed))
    plain = gradients(gpt2(packed)[packed.last])
    assert all(gradient.abs().max() > 0 for gradient in plain.values())
    assert_close(short, plain)


def test_activations_that_are_computed_again_give_the_same_gradients(gpt2, messages):
    gpt2.double().train().set_dropout(0.2)
    parameters = list(gpt2.parameters())
    kept: list[int] = []

    def gradients(checkpointed: bool) -> tuple[torch.Tensor, ...]:
        gpt2.checkpoint_activations = checkpointed
        torch.manual_seed(5)
        held = 0

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            nonlocal held
            held += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            summed = gpt2(pack(messages)).square().sum()
        kept.append(held)
        return torch.autograd.grad(summed, parameters)

    assert_close(gradients(True), gradients(False))
    assert kept[0] < kept[1] / 2


class LowRank(nn.Module):
    """An adapter as LoRA is: what it wraps, and a low-rank product beside it."""

    def __init__(self, projection: Projection, rank: int = 2) -> None:
        super().__init__()
        self.projection = projection
        inputs, outputs = projection.weight.shape
        self.a = nn.Parameter(torch.empty(inputs, rank))
        self.b = nn.Parameter(torch.empty(rank, outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.projection(x) + x @ self.a @ self.b

    def effective_weights(self) -> tuple[torch.Tensor, torch.Tensor]:
        weight, bias = self.projection.effective_weights()
        return weight + self.a @ self.b, bias


@pytest.fixture
def adapted(gpt2) -> GPT2:
    """A GPT-2 with an adapter in the place of every projection, in float64."""
    names = [name for name, module in gpt2.named_modules() if isinstance(module, Projection)]
    generator = torch.Generator().manual_seed(6)
    for name in names:
        adapter = LowRank(gpt2.get_submodule(name))
        for parameter in (adapter.a, adapter.b):
            nn.init.normal_(parameter, 0, 0.3, generator=generator)
        gpt2.set_submodule(name, adapter)
    return gpt2.double()


def test_an_adapter_can_take_the_place_of_every_projection(adapted, messages):
    packed = pack(messages)
    adapters = [module for module in adapted.modules() if isinstance(module, LowRank)]
    assert len(adapters) == 4 * adapted.config.n_layer
    plain = adapted(packed)
    short = adapted.last_hidden_states(packed)
    assert_close(short, plain[packed.last], atol=1e-9, rtol=0)

    def gradients(outcome):
        parameters = [parameter for adapter in adapters for parameter in (adapter.a, adapter.b)]
        return torch.autograd.grad(outcome.pow(2).sum(), parameters)

    of_plain = gradients(plain[packed.last])
    assert all(gradient.abs().max() > 0 for gradient in of_plain)
    assert_close(gradients(short), of_plain)
    with torch.no_grad():  # and as if the adapters had been merged into the weights
        for adapter in adapters:
            adapter.projection.weight += adapter.a @ adapter.b
            adapter.a.zero_()
    assert_close(adapted.last_hidden_states(packed), short, atol=1e-9, rtol=0)


@torch.no_grad()
def test_an_adapter_is_merged_where_products_are_lowered(adapted, messages):
    adapted = adapted.float()
    packed = pack(messages)
    low = lowered(adapted, adapted.config.n_layer, torch.bfloat16).last_hidden_states(packed)
    for adapter in [module for module in adapted.modules() if isinstance(module, LowRank)]:
        adapter.projection.weight += adapter.a @ adapter.b
        adapter.a.zero_()
    merged = lowered(adapted, adapted.config.n_layer, torch.bfloat16)
    assert_close(merged.last_hidden_states(packed), low)


@torch.no_grad()
def test_the_last_block_computes_only_what_the_last_tokens_need(gpt2, messages):
    rows = []
    for module in (gpt2.h[-1].attn.c_proj, gpt2.h[-1].mlp, gpt2.ln_f):
        module.register_forward_pre_hook(lambda _, inputs: rows.append(len(inputs[0])))
    gpt2.last_hidden_states(pack(messages))
    assert rows == [len(messages)] * 3


def test_parameters_are_those_of_the_published_files(make_reference, shape):
    reference, _ = make_reference()
    expected = {name: tensor.shape for name, tensor in reference.state_dict().items()}
    with torch.device("meta"):
        ours = GPT2(GPT2Config.from_dict(shape))
    assert {name: tensor.shape for name, tensor in ours.state_dict().items()} == expected


@pytest.mark.parametrize(
    ("n_layer", "n_head", "n_embd", "parameters"),
    [
        (12, 12, 768, 124_439_808),
        (24, 16, 1024, 354_823_168),
        (36, 20, 1280, 774_030_080),
        (48, 25, 1600, 1_557_611_200),
    ],
)
def test_the_four_sizes_have_the_published_number_of_parameters(
    n_layer, n_head, n_embd, parameters
):
    with torch.device("meta"):
        model = GPT2(GPT2Config(n_layer, n_head, n_embd))
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters


@pytest.mark.network
@torch.no_grad()
def test_the_real_gpt2_continues_as_published(published_gpt2):
    model, tokenizer = load_folder(published_gpt2)
    (token_ids,) = tokenizer.encode(["Every effort moves you"])
    expected = " forward.\n\nThe first step is to understand the importance of your work"
    (expected_ids,) = tokenizer.encode([expected])
    for _ in expected_ids:
        # The output layer of GPT-2 is its token embedding.
        logits = model.last_hidden_states(pack([token_ids])) @ model.wte.weight.T
        token_ids.append(int(logits.argmax()))
    assert tokenizer.encoding.decode(token_ids[-len(expected_ids) :]) == expected
