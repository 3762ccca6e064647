import pytest
import torch
from torch.testing import assert_close

from spamgpt.gpt2.backends.attention import causal_attention, full_attention


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


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_full_attention_sees_all_of_a_message_and_nothing_behind_it(dtype):
    generator = torch.Generator().manual_seed(3)
    query, key, value = (torch.randn(3, 4, 7, 16, generator=generator) for _ in range(3))
    # The third of the messages only makes the shape recur.
    low = (x.to(dtype) for x in (query, key, value))
    found = full_attention(*low, torch.tensor([7, 4])).float()
    atol = 1e-5 if dtype == torch.float32 else 0.03
    for message, length in enumerate((7, 4)):
        q, k, v = (x[message, :, :length] for x in (query, key, value))
        expected = (q @ k.transpose(1, 2) / 4).softmax(2) @ v
        assert_close(found[message, :, :length], expected, atol=atol, rtol=atol)
    assert found.isfinite().all()


@pytest.mark.parametrize("full", [False, True])
def test_gradients_of_attention_by_products_are_those_of_plain_torch(full):
    generator = torch.Generator().manual_seed(5)
    parts = [torch.randn(3, 4, 7, 16, generator=generator) for _ in range(3)]
    wanted = torch.randn(3, 4, 7, 16, generator=generator)
    lengths = torch.tensor([7, 4, 6])
    if full:  # what stands behind a message is nobody's
        wanted *= (torch.arange(7) < lengths[:, None])[:, None, :, None]

    def outcome(dtype):
        leaves = [part.to(dtype).requires_grad_() for part in parts]
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            found = full_attention(*leaves, lengths) if full else causal_attention(*leaves)
        assert found.dtype == dtype
        gradients = torch.autograd.grad((found * wanted.to(dtype)).sum(), leaves)
        return found.grad_fn, [gradient.float() for gradient in gradients]

    exact, (low_function, low) = outcome(torch.float32)[1], outcome(torch.bfloat16)
    assert "AttentionByProducts" in str(low_function.next_functions)
    assert_close(low, exact, atol=0.05, rtol=0.05)


@pytest.mark.parametrize("longest", [1, 7, 64, 65])
@pytest.mark.parametrize("full", [True, False])
def test_attention_to_learn_from_and_to_predict_with_agree(longest, full):
    query, key, value = (torch.randn(3, 4, longest, 16) for _ in range(3))
    lengths = torch.tensor([longest, 1, 1 + longest // 2])

    def attended():
        if full:
            return full_attention(query, key, value, lengths)
        return causal_attention(query, key, value)

    with torch.no_grad():
        found = attended()
    assert_close(found, attended(), atol=1e-5, rtol=1e-5)
