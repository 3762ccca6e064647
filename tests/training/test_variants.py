import pytest

from spamgpt.errors import UsageError
from spamgpt.gpt2.config import PROJECTIONS, LoraConfig
from spamgpt.training.variants import check_padding, lora_config, padded_length


@pytest.mark.parametrize(
    ("padding", "length"), [("none", None), ("longest", 120), ("context", 1024), ("40", 40)]
)
def test_the_padding_is_a_length_in_tokens(padding, length):
    check_padding(padding, "last", context=1024)
    assert padded_length(padding, longest=120, context=1024) == length


@pytest.mark.parametrize("padding", ["", "0", "-1", "1.5", "most", "٣", "None"])
def test_what_is_no_padding_is_refused_with_what_is(padding):
    with pytest.raises(UsageError, match="is no padding") as caught:
        check_padding(padding, "last", context=64)
    assert "none, longest, context, or a number" in caught.value.hint


def test_padding_beyond_the_context_is_refused():
    check_padding("64", "last", context=64)
    with pytest.raises(UsageError, match="`padding=65` is more than the model's context of 64"):
        check_padding("65", "last", context=64)


@pytest.mark.parametrize(
    ("pooling", "instead"), [("last-position", "last"), ("mean-positions", "mean")]
)
def test_reading_padding_needs_some(pooling, instead):
    check_padding("longest", pooling, context=64)
    with pytest.raises(UsageError, match=f"`pooling={pooling}` reads padding") as caught:
        check_padding("none", pooling, context=64)
    assert f"`pooling={instead}`" in caught.value.hint


@pytest.mark.parametrize(
    ("targets", "chosen"),
    [
        (None, ("attn.c_attn", "attn.c_proj", "mlp.c_proj")),
        ("all", PROJECTIONS),
        ("c_fc, attn.c_attn", ("attn.c_attn", "mlp.c_fc")),
        ("mlp.c_proj", ("mlp.c_proj",)),
    ],
)
def test_targets_are_projections_or_the_ends_of_their_names(targets, chosen):
    assert lora_config(8, None, targets, n_embd=32) == LoraConfig(8, 8.0, chosen)


@pytest.mark.parametrize("targets", ["head", "", "c_attn,", "proj", "attn", "c_attn;c_proj"])
def test_other_targets_are_refused_with_those_there_are(targets):
    with pytest.raises(UsageError, match="is no projection of GPT-2") as caught:
        lora_config(8, None, targets, n_embd=32)
    assert "c_attn, c_proj, c_fc" in caught.value.hint


def test_what_an_adapter_adds_is_scaled_by_alpha_over_the_rank():
    assert lora_config(16, 8, None, n_embd=32).scale == 0.5
    assert lora_config(16, None, None, n_embd=32).scale == 1


@pytest.mark.parametrize(
    ("rank", "alpha", "targets", "told"),
    [
        (None, 4.0, None, "`lora_alpha` is for adapters"),
        (None, None, "all", "`lora_targets` is for adapters"),
        (0, None, None, "`lora_rank=0` is not between 1 and the model's width, 32"),
        (33, None, None, "`lora_rank=33` is not between"),
        (8, 0.0, None, "`lora_alpha=0` is no number above 0"),
        (8, float("nan"), None, "`lora_alpha=nan`"),
    ],
)
def test_adapters_that_cannot_be_are_refused(rank, alpha, targets, told):
    with pytest.raises(UsageError) as caught:
        lora_config(rank, alpha, targets, n_embd=32)
    assert told in caught.value.message
    assert lora_config(None, None, None, n_embd=32) is None
