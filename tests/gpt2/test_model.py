import pytest
import torch
from torch.testing import assert_close

from spamgpt.gpt2.config import GPT2Config
from spamgpt.gpt2.folder import load_folder
from spamgpt.gpt2.model import GPT2, Projection
from spamgpt.gpt2.packing import pack
from spamgpt.gpt2.weights import load_gpt2


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


@pytest.mark.parametrize("rows", [1, 8, 32])
def test_a_thin_product_and_its_gradients_are_those_of_the_usual_one(rows, monkeypatch):
    projection = Projection(48, 40)
    torch.nn.init.normal_(projection.weight)
    torch.nn.init.normal_(projection.bias)
    x = torch.randn(rows, 48, requires_grad=True)
    wanted = torch.rand(rows, 40)

    def outcome():
        product = projection(x)
        tensors = [x, projection.weight, projection.bias]
        return product, torch.autograd.grad((product * wanted).sum(), tensors)

    found = outcome()
    assert "ThinProduct" in type(found[0].grad_fn).__name__
    monkeypatch.setattr("torch.backends.mkldnn.is_available", lambda: False)
    assert_close(found, outcome(), atol=1e-5, rtol=1e-5)
    monkeypatch.undo()
    projection.requires_grad_(False)  # then only the input has a gradient
    assert_close(torch.autograd.grad((projection(x) * wanted).sum(), x)[0], found[1][0])


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
