import pytest
import torch
from torch.testing import assert_close

from spamgpt.gpt2.model import GPT2, Projection, causal_attention
from spamgpt.gpt2.packing import pack
from spamgpt.gpt2.precision import lowered


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
    assert sum(isinstance(module, Projection) for module in GPT2(gpt2.config).modules()) > 0


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
