import types

import pytest
import torch
from torch.testing import assert_close

from spamgpt.gpt2.backends import projections
from spamgpt.gpt2.backends.precision import lowered
from spamgpt.gpt2.backends.projections import (
    FusedProjection,
    LowProjection,
    QuantizedProjection,
    fused_projections_pay,
    fused_projections_work,
    quantized_projections_work,
)
from spamgpt.gpt2.config import GPT2Config
from spamgpt.gpt2.model import GPT2, Projection
from spamgpt.gpt2.packing import pack
from spamgpt.gpt2.weights import random_weights

exact_in_int8 = pytest.mark.skipif(
    not torch.cpu.get_capabilities().get("avx512_vnni") or not quantized_projections_work(),
    reason="int8 is for AVX512-VNNI",
)
needs_bfloat16 = pytest.mark.skipif(
    not fused_projections_work(), reason="oneDNN has no bfloat16 here"
)


@exact_in_int8
def test_a_projection_in_int8_is_that_in_float32_but_for_rounding():
    generator = torch.Generator().manual_seed(1)
    exact = Projection(48, 40)
    with torch.no_grad():
        # Outputs and tokens of very different size: each has a scale of its own.
        exact.weight.copy_(torch.randn(48, 40, generator=generator) * torch.logspace(-3, 2, 40))
        exact.bias.copy_(torch.randn(40, generator=generator))
        x = torch.randn(64, 48, generator=generator) * torch.logspace(-3, 3, 64)[:, None]
        x[7], x[8] = 0, -x[9].abs()
        x = x.bfloat16()
        found = QuantizedProjection(exact.weight, exact.bias)(x).float() - exact.bias
        expected = exact(x.float()) - exact.bias
    scale = x.float().norm(dim=1, keepdim=True) * exact.weight.norm(dim=0) / 48**0.5
    rounding = (exact.bias.abs() + expected.abs()) / 128  # of bfloat16, which comes out
    assert ((found - expected).abs() <= 0.06 * scale + rounding).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("activated", [True, False])
def test_a_fused_projection_is_the_projection_and_its_activation(activated, dtype):
    if not fused_projections_work(dtype):
        pytest.skip(f"oneDNN has no {dtype} here")
    torch.manual_seed(0)
    exact = Projection(48, 40)
    with torch.no_grad():
        exact.weight.normal_()
        exact.bias.normal_()
        x = torch.randn(70, 48).to(dtype)
        expected = exact(x.float())
        expected = torch.nn.functional.gelu(expected, approximate="tanh") if activated else expected
        found = FusedProjection(exact.weight, exact.bias, activated, dtype)(x)
    assert found.dtype == dtype
    atol, rtol = (0.1, 0.01) if dtype == torch.bfloat16 else (1e-4, 1e-5)
    assert_close(found.float(), expected, atol=atol, rtol=rtol)


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="there is no oneDNN here")
@pytest.mark.parametrize("slow", ["plain", "fused"])
def test_the_faster_of_two_libraries_is_found_by_measuring(slow, unchecked, monkeypatch):
    usual = {"plain": projections._activated, "fused": FusedProjection.forward}[slow]

    def slowed(*arguments):
        for _ in range(20):
            found = usual(*arguments)
        return found

    if slow == "plain":
        monkeypatch.setattr(projections, "_activated", slowed)
    else:
        monkeypatch.setattr(FusedProjection, "forward", slowed)
    assert fused_projections_pay() == (slow == "plain")


@pytest.fixture
def unchecked():
    """No operator has been tried yet, and none is believed afterwards."""
    checks = (fused_projections_work, fused_projections_pay, quantized_projections_work)
    for check in checks:
        check.cache_clear()
    yield
    for check in checks:
        check.cache_clear()


def break_operators(broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if broken == "missing":
        monkeypatch.setattr(torch.ops, "mkldnn", types.SimpleNamespace())
        monkeypatch.setattr(torch.ops, "onednn", types.SimpleNamespace())
        return

    def wrong(x, packed, *arguments):
        return torch.ones(len(x), 8, dtype=torch.bfloat16)

    monkeypatch.setattr(torch.ops.mkldnn, "_linear_pointwise", wrong)
    monkeypatch.setattr(
        torch.ops.onednn, "qlinear_pointwise", lambda x, one, zero, *arguments: wrong(x, None)
    )


@pytest.mark.parametrize("broken", ["missing", "wrong"])
def test_where_an_operator_is_not_usable_bfloat16_is_plain_torch(broken, unchecked, monkeypatch):
    config = GPT2Config(n_layer=2, n_head=2, n_embd=32, vocab_size=60, n_positions=32)
    gpt2 = GPT2(config)
    gpt2.load_state_dict(random_weights(config, seed=3))
    x = torch.randn(5, 32)
    break_operators(broken, monkeypatch)
    low = lowered(gpt2, 2, torch.bfloat16)
    projection, plain = low.h[0].attn.c_attn, gpt2.h[0].attn.c_attn
    assert isinstance(projection, LowProjection)
    expected = torch.addmm(plain.bias.bfloat16(), x.bfloat16(), plain.weight.bfloat16())
    assert torch.equal(projection(x), expected)
    with torch.inference_mode():
        packed = pack([[1, 2, 3], [5] * 30])
        exact, found = (model.last_hidden_states(packed) for model in (gpt2, low))
    assert 0 < (exact - found).abs().max() < 0.05 * exact.std()


@exact_in_int8
@pytest.mark.parametrize("broken", ["missing", "wrong"])
def test_int8_is_told_to_be_unusable_where_its_operators_are(broken, unchecked, monkeypatch):
    break_operators(broken, monkeypatch)
    assert not quantized_projections_work()
    assert not fused_projections_pay()


def test_trying_the_operators_leaves_the_random_state_and_the_precision(unchecked):
    before = torch.get_rng_state()
    with torch.device("meta"), torch.autocast("cpu", torch.bfloat16):
        found = fused_projections_work(), quantized_projections_work()
    fused_projections_work.cache_clear()
    quantized_projections_work.cache_clear()
    assert found == (fused_projections_work(), quantized_projections_work())
    assert torch.equal(torch.get_rng_state(), before)
