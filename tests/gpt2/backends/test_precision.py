import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from spamgpt.gpt2.backends import precision
from spamgpt.gpt2.backends.precision import lowered
from spamgpt.gpt2.backends.projections import (
    FusedProjection,
    LowProjection,
    QuantizedProjection,
    fused_projections_work,
    quantized_projections_work,
)
from spamgpt.gpt2.config import GPT2Config
from spamgpt.gpt2.model import GPT2, Projection
from spamgpt.gpt2.packing import pack
from spamgpt.gpt2.weights import load_gpt2, random_weights, write_weights

exact_in_int8 = pytest.mark.skipif(
    not torch.cpu.get_capabilities().get("avx512_vnni") or not quantized_projections_work(),
    reason="int8 is for AVX512-VNNI",
)
needs_bfloat16 = pytest.mark.skipif(
    not fused_projections_work(), reason="oneDNN has no bfloat16 here"
)


@pytest.fixture
def gpt2() -> GPT2:
    config = GPT2Config(n_layer=3, n_head=2, n_embd=32, vocab_size=60, n_positions=32)
    model = GPT2(config)
    weights = random_weights(config, seed=3).items()
    model.load_state_dict({name: w * 4 if w.dim() > 1 else w for name, w in weights})
    return model


def test_in_float32_the_model_is_the_model_unless_it_is_fused(gpt2):
    assert lowered(gpt2, 2, torch.float32) is gpt2
    packed = pack([[1, 2, 3], [5] * 30, list(range(20))])
    fused = lowered(gpt2, 3, torch.float32, fused=True)
    with torch.inference_mode():
        found, expected = (model.last_hidden_states(packed) for model in (fused, gpt2))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    kinds = {type(block.mlp.c_fc) for block in fused.blocks(0, 2)}
    assert kinds == {FusedProjection if fused_projections_work(torch.float32) else Projection}


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("one_only", [True, False])
@pytest.mark.parametrize("depth", [0, 1, 2, 3])
def test_only_the_projections_of_the_first_blocks_change(gpt2, depth, one_only, fused, monkeypatch):
    changed = min(depth, 2 if one_only else 3)
    kind = FusedProjection if fused else LowProjection
    monkeypatch.setattr(precision, "fused_projections_work", lambda dtype: fused)
    before = {name: parameter.clone() for name, parameter in gpt2.named_parameters()}
    low = lowered(gpt2, depth, torch.bfloat16, one_only=one_only)
    for number, block in enumerate(low.blocks(0)):
        kinds = [type(m) for m in block.modules() if "Projection" in type(m).__name__]
        assert kinds == [kind if number < changed else Projection] * 4
        tensors = [*block.attn.c_attn.parameters(), *vars(block.attn.c_attn).values()]
        dtypes = {tensor.dtype for tensor in tensors if isinstance(tensor, torch.Tensor)}
        assert dtypes == {torch.bfloat16 if number < changed else torch.float32}
    originals = dict(gpt2.named_parameters())
    for name, parameter in low.named_parameters():
        if parameter.dtype == torch.float32:
            assert parameter is originals[name], name
    assert all(torch.equal(before[name], p) for name, p in gpt2.named_parameters())


@pytest.mark.parametrize("fused", [True, False])
def test_the_outcome_is_float32_and_differs_only_by_rounding(gpt2, fused, monkeypatch):
    if not fused:
        monkeypatch.setattr(precision, "fused_projections_work", lambda dtype: False)
    generator = torch.Generator().manual_seed(0)
    vocabulary = gpt2.config.vocab_size
    messages = [torch.randint(vocabulary, (n,), generator=generator).tolist() for n in (1, 5, 30)]
    packed = pack(messages)
    with torch.inference_mode():
        exact = gpt2.last_hidden_states(packed)
        low = lowered(gpt2, gpt2.config.n_layer, torch.bfloat16).last_hidden_states(packed)
    assert low.dtype == torch.float32
    assert 0 < (exact - low).abs().max() < 0.05 * exact.std()


@exact_in_int8
@pytest.mark.parametrize("mapped", [False, True])
def test_in_int8_the_outcome_differs_only_by_rounding_and_the_model_stays(gpt2, mapped, tmp_path):
    write_weights(gpt2.state_dict(), tmp_path / "w.safetensors")
    before = {name: parameter.clone() for name, parameter in gpt2.named_parameters()}
    packed = pack([[1, 2, 3], [5] * 30, list(range(20))])
    low = lowered(gpt2, 3, torch.int8, *([tmp_path / "w.safetensors", 1] if mapped else []))
    with torch.inference_mode():
        exact, found = (model.last_hidden_states(packed) for model in (gpt2, low))
    assert isinstance(low.h[0].mlp.c_proj, QuantizedProjection)
    # With its GELU it is faster in bfloat16, where that is a single operation.
    fused = fused_projections_work()
    assert isinstance(low.h[0].mlp.c_fc, FusedProjection if fused else QuantizedProjection)
    assert low.h[2].mlp.c_fc.weight is gpt2.h[2].mlp.c_fc.weight
    assert 0 < (exact - found).abs().max() < 0.1 * exact.std()
    assert all(torch.equal(before[name], p) for name, p in gpt2.named_parameters())


def test_blocks_that_are_as_in_their_file_are_read_there_and_others_are_not(gpt2, tmp_path):
    path = tmp_path / "model.safetensors"
    write_weights(gpt2.state_dict(), path)
    mapped = load_gpt2(gpt2.config, path)
    with torch.no_grad():
        # The change of a block that was said to be unchanged is not seen; of the other it is.
        for block in mapped.h:
            block.mlp.c_fc.weight.add_(1)
    low = lowered(mapped, 2, torch.bfloat16, path, unchanged=1)
    x = torch.randn(5, gpt2.config.n_embd).bfloat16()
    with torch.inference_mode():
        found = [block.mlp.c_fc(x) for block in low.blocks(0, 2)]
        expected = [block.mlp.c_fc(x) for block in lowered(gpt2, 2, torch.bfloat16).blocks(0, 2)]
        changed = [block.mlp.c_fc(x) for block in lowered(mapped, 2, torch.bfloat16).blocks(0, 2)]
    assert torch.equal(found[0], expected[0])
    assert not torch.equal(found[0], changed[0])
    assert torch.equal(found[1], changed[1])


@needs_bfloat16
def test_products_in_bfloat16_have_few_shapes_whatever_the_messages(gpt2):
    shapes = set()

    class Recorded(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            given = [a for a in args if isinstance(a, torch.Tensor) and a.dtype == torch.bfloat16]
            if given and any(name in str(func) for name in ("linear", "mm")):
                shapes.add((str(func), *(tuple(a.shape) for a in given)))
            return func(*args, **(kwargs or {}))

    low = lowered(gpt2, 2, torch.bfloat16)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad(), Recorded():
        for _ in range(100):
            count = int(torch.randint(1, 20, (), generator=generator))
            lengths = torch.randint(1, 32, (count,), generator=generator).tolist()
            low.last_hidden_states(pack([[1] * length for length in lengths]))
    rows = {given[0][0] for kind, *given in shapes if "linear_pointwise" in kind}
    assert rows
    assert rows <= {64 * multiple for multiple in range(1, 11)}
    # The products of attention: (messages x heads, longest, ...)
    batches = {given[-2][:2] for kind, *given in shapes if "bmm" in kind}
    assert 0 < len(batches) < 80
