import pytest
import torch
from torch.testing import assert_close

from spamgpt.gpt2.config import GPT2Config
from spamgpt.gpt2.model import GPT2, causal_attention
from spamgpt.gpt2.packing import pack
from spamgpt.gpt2.precision import lowered
from spamgpt.gpt2.weights import random_weights


@pytest.fixture
def gpt2() -> GPT2:
    config = GPT2Config(n_layer=2, n_head=2, n_embd=32, vocab_size=60, n_positions=32)
    model = GPT2(config)
    weights = random_weights(config, seed=3).items()
    model.load_state_dict({name: w * 4 if w.dim() > 1 else w for name, w in weights})
    return model


def test_in_float32_the_model_is_the_model(gpt2):
    assert lowered(gpt2, 2, torch.float32) is gpt2


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_only_the_projections_of_the_first_blocks_change_and_the_rest_is_shared(gpt2, depth):
    before = {name: parameter.clone() for name, parameter in gpt2.named_parameters()}
    low = lowered(gpt2, depth, torch.bfloat16)
    originals = dict(gpt2.named_parameters())
    for name, parameter in low.named_parameters():
        block = int(name.split(".")[1]) if name.startswith("h.") else None
        if block is not None and block < depth and "ln_" not in name:
            assert parameter.dtype == torch.bfloat16, name
        else:
            assert parameter is originals[name], name
    assert all(torch.equal(before[name], p) for name, p in gpt2.named_parameters())


def test_the_outcome_is_float32_and_differs_only_by_rounding(gpt2):
    generator = torch.Generator().manual_seed(0)
    vocabulary = gpt2.config.vocab_size
    messages = [torch.randint(vocabulary, (n,), generator=generator).tolist() for n in (1, 5, 30)]
    packed = pack(messages)
    with torch.inference_mode():
        exact = gpt2.last_hidden_states(packed)
        low = lowered(gpt2, gpt2.config.n_layer, torch.bfloat16).last_hidden_states(packed)
    assert low.dtype == torch.float32
    assert 0 < (exact - low).abs().max() < 0.05 * exact.std()


@pytest.mark.parametrize("longest", [1, 7, 64])
def test_attention_in_bfloat16_is_that_in_float32_but_for_rounding(longest):
    generator = torch.Generator().manual_seed(longest)
    shape = (3, 4, longest, 16)
    query, key, value = (torch.randn(shape, generator=generator) for _ in range(3))
    exact = causal_attention(query, key, value)
    low = causal_attention(*(x.bfloat16() for x in (query, key, value)))
    assert low.dtype == torch.bfloat16
    assert_close(low.float(), exact, atol=0.03, rtol=0.03)
    # Nothing behind a token is seen from it.
    changed = value.clone()
    changed[:, :, -1] += 100
    again = causal_attention(query.bfloat16(), key.bfloat16(), changed.bfloat16())
    assert torch.equal(again[:, :, :-1], low[:, :, :-1])
