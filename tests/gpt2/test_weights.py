import contextlib
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor

from spamgpt.gpt2.config import GPT2Config, ModelFormatError
from spamgpt.gpt2.weights import load_gpt2, random_weights, write_weights

CONFIG = GPT2Config(n_layer=2, n_head=2, n_embd=16, vocab_size=40, n_positions=12)


@pytest.fixture
def weights() -> dict[str, Tensor]:
    return random_weights(CONFIG, seed=1)


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "model.safetensors"


def load_as(stored: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """The parameters of the model that is loaded from these stored tensors."""
    save_file(stored, path)
    return load_gpt2(CONFIG, path).state_dict()


def assert_equal(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor), name


# Layouts


@pytest.mark.parametrize("prefix", ["", "transformer."])
@pytest.mark.parametrize("mask_dtype", [torch.float32, torch.uint8, torch.bool])
def test_both_layouts_are_read_and_what_is_no_parameter_is_ignored(
    prefix, mask_dtype, weights, path
):
    others = {
        "h.0.attn.bias": torch.ones(1, 1, 12, 12, dtype=mask_dtype),
        "h.1.attn.bias": torch.ones(1, 1, 12, 12, dtype=mask_dtype),
        "h.1.attn.masked_bias": torch.tensor(-1e4),
    }
    stored = {prefix + name: tensor for name, tensor in (weights | others).items()}
    heads = {"lm_head.weight": torch.ones(40, 16), "score.weight": torch.ones(2, 16)}
    assert_equal(load_as(stored | heads, path), weights)


@pytest.mark.parametrize("kind", ["GPT2Model", "GPT2LMHeadModel", "GPT2ForSequenceClassification"])
def test_what_transformers_saves_is_read_value_for_value(kind, make_reference):
    reference, folder = make_reference(kind)
    trunk = getattr(reference, "transformer", reference)
    config = GPT2Config.from_file(folder / "config.json")
    loaded = load_gpt2(config, folder / "model.safetensors").state_dict()
    assert_equal(loaded, dict(trunk.named_parameters()))


def test_transformers_reads_what_is_written(weights, tmp_path):
    import transformers

    write_weights(weights, tmp_path / "model.safetensors")
    transformers.GPT2Config(**CONFIG.to_dict()).save_pretrained(tmp_path)
    model, report = transformers.GPT2Model.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report.values())
    assert_equal(dict(model.named_parameters()), weights)


def test_what_is_loaded_is_written_again_byte_for_byte(weights, path):
    write_weights(weights, path)
    again = path.with_name("again.safetensors")
    write_weights(load_gpt2(CONFIG, path).state_dict(), again)
    assert again.read_bytes() == path.read_bytes()


def test_the_model_is_ready_to_infer_and_to_train(weights, path):
    write_weights(weights, path)
    model = load_gpt2(CONFIG, path)
    assert not model.training
    assert all(parameter.requires_grad for parameter in model.parameters())


# Memory mapping


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs /proc/self/maps")
def test_the_parameters_are_the_mapped_file(weights, path):
    write_weights(weights, path)
    model = load_gpt2(CONFIG, path)
    lines = [line for line in Path("/proc/self/maps").read_text().splitlines() if str(path) in line]
    mappings = [[int(end, 16) for end in line.split()[0].split("-")] for line in lines]
    for name, parameter in model.named_parameters():
        assert any(start <= parameter.data_ptr() < end for start, end in mappings), name


def test_changing_a_loaded_parameter_does_not_change_the_file(weights, path):
    write_weights(weights, path)
    before = path.read_bytes()
    model = load_gpt2(CONFIG, path)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(7)
    assert path.read_bytes() == before
    assert_equal(load_gpt2(CONFIG, path).state_dict(), weights)


# Number formats


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floating_point_formats_become_float32(dtype, weights, path):
    stored = {name: tensor.to(dtype) for name, tensor in weights.items()}
    assert_equal(load_as(stored, path), {name: t.float() for name, t in stored.items()})


@pytest.mark.parametrize(
    "dtype", [torch.int64, torch.int8, torch.bool, torch.complex64, torch.float8_e4m3fn]
)
def test_numbers_that_are_no_plain_weights_are_refused(dtype, weights, path):
    weights["wpe.weight"] = torch.zeros(12, 16).to(dtype)
    with pytest.raises(ModelFormatError, match=f"wpe.weight holds {dtype}"):
        load_as(weights, path)


# Files that do not fit


def test_missing_surplus_and_misshapen_tensors_are_named_in_one_error(weights, path):
    del weights["ln_f.bias"], weights["h.1.mlp.c_fc.weight"]
    weights["h.2.ln_1.bias"] = torch.zeros(16)
    weights["wpe.weight"] = torch.zeros(16, 12)
    weights["h.0.attn.c_attn.bias"] = torch.zeros(48, dtype=torch.int32)
    with pytest.raises(ModelFormatError) as caught:
        load_as(weights, path)
    assert str(caught.value) == (
        f"{path} does not fit its config.json: missing h.1.mlp.c_fc.weight, ln_f.bias; "
        "surplus h.2.ln_1.bias; wrong shapes: wpe.weight is (16, 12), expected (12, 16); "
        "h.0.attn.c_attn.bias holds torch.int32, not plain floating-point numbers"
    )


def test_an_error_about_hundreds_of_tensors_stays_readable(path):
    with pytest.raises(ModelFormatError, match=r"missing .* and 20 more") as caught:
        load_as({"something.else": torch.zeros(1)}, path)
    assert len(str(caught.value)) < 500


def test_a_weight_that_is_there_twice_is_refused(weights, path):
    with pytest.raises(ModelFormatError, match=r"ln_f\.bias with and without transformer\."):
        load_as(weights | {"transformer.ln_f.bias": torch.ones(16)}, path)


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:7],
        lambda content: content[:100],
        lambda content: content[:-1],
        lambda content: content + b"\0",
        lambda content: b"\xff" * len(content),
        lambda content: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
    ],
    ids=["empty", "7-bytes", "header-cut", "data-cut", "too-long", "garbage", "lfs-pointer"],
)
def test_a_damaged_file_is_named(damage, weights, path):
    write_weights(weights, path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ModelFormatError) as caught:
        load_gpt2(CONFIG, path)
    assert str(caught.value).startswith(f"{path} is not a whole safetensors file")


@pytest.fixture(scope="module")
def sound_file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "sound.safetensors"
    write_weights(random_weights(CONFIG, seed=1), path)
    return path


@settings(deadline=None)
@given(start=st.integers(0, 2500), length=st.integers(0, 40), patch=st.binary(max_size=40))
def test_damage_to_the_header_is_a_model_format_error_if_any(sound_file, start, length, patch):
    content = sound_file.read_bytes()
    path = sound_file.with_name("damaged.safetensors")
    path.write_bytes(content[:start] + patch + content[start + length :])
    with contextlib.suppress(ModelFormatError):
        load_gpt2(CONFIG, path)


def test_a_missing_file_is_told_by_name(path):
    with pytest.raises(FileNotFoundError) as caught:
        load_gpt2(CONFIG, path)
    assert caught.value.filename == str(path)


# Random weights


def test_random_weights_are_drawn_as_those_of_gpt2():
    config = GPT2Config(n_layer=8, n_head=2, n_embd=64, vocab_size=300, n_positions=200)
    weights = random_weights(config, seed=1)
    for name, tensor in weights.items():
        if name.endswith("bias"):
            assert torch.equal(tensor, torch.zeros_like(tensor)), name
        elif ".ln_" in name or name.startswith("ln_f"):
            assert torch.equal(tensor, torch.ones_like(tensor)), name
        else:
            # 1/sqrt(2 * 8) = 1/4 for the two projections of each block into the residual stream.
            expected = 0.02 / 4 if name.endswith("c_proj.weight") else 0.02
            # Six standard errors of each estimate.
            error = 6 / math.sqrt(tensor.numel())
            assert tensor.std().item() == pytest.approx(expected, rel=error), name
            assert abs(tensor.mean().item()) < expected * error, name
            # A normal distribution, not a truncated or uniform one.
            beyond = (tensor.abs() > 2 * expected).float().mean().item()
            assert beyond == pytest.approx(0.0455, abs=error), name


def test_random_weights_are_those_of_the_shape(shape, make_reference):
    reference, _ = make_reference()
    found = random_weights(GPT2Config(**shape), seed=1)
    expected = {name: parameter.shape for name, parameter in reference.named_parameters()}
    assert {name: tensor.shape for name, tensor in found.items()} == expected


def test_the_seed_alone_decides_the_random_weights():
    torch.manual_seed(1)
    first = random_weights(CONFIG, seed=5)
    torch.manual_seed(2)
    state = torch.get_rng_state()
    assert_equal(random_weights(CONFIG, seed=5), first)
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(random_weights(CONFIG, seed=6)["wte.weight"], first["wte.weight"])


def test_no_two_tensors_are_drawn_alike():
    weights = random_weights(CONFIG, seed=5)
    assert not torch.equal(weights["h.0.attn.c_attn.weight"], weights["h.1.attn.c_attn.weight"])


def test_tensors_of_any_layout_are_written(path):
    square = torch.arange(9.0).reshape(3, 3).requires_grad_()
    write_weights({"turned": square.T, "row": square[1]}, path)
    assert_equal(load_file(path), {"turned": square.T, "row": square[1]})
