import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from spamgpt.gpt2.config import GPT2Config
from spamgpt.gpt2.dropout import set_dropout
from spamgpt.gpt2.model import GPT2
from spamgpt.gpt2.packing import pack
from spamgpt.gpt2.weights import load_gpt2

DROPOUT = {"embd_pdrop": 0.3, "attn_pdrop": 0.3, "resid_pdrop": 0.3}


@pytest.fixture
def pair(make_reference) -> tuple[torch.nn.Module, GPT2]:
    """transformers' model and ours, both in training mode and with dropout."""
    reference, folder = make_reference(attn_implementation="eager", **DROPOUT)
    gpt2 = load_gpt2(GPT2Config.from_file(folder / "config.json"), folder / "model.safetensors")
    set_dropout(gpt2, 0.3)
    return reference.train(), gpt2.train()


@torch.no_grad()
def test_from_one_seed_the_same_is_dropped_as_by_transformers(pair, messages):
    reference, gpt2 = pair
    for message in messages:
        torch.manual_seed(5)
        expected = reference(torch.tensor([message])).last_hidden_state[0]
        torch.manual_seed(5)
        assert_close(gpt2(pack([message])), expected, atol=1e-4, rtol=0)


@torch.no_grad()
def test_where_one_token_is_read_it_loses_what_it_loses_in_the_whole(pair, messages, monkeypatch):
    reference, gpt2 = pair

    def drop(x, p=0.5, training=True, inplace=False):
        """Drops every third column instead of random ones."""
        kept = (torch.arange(x.shape[-1]) % 3 != 1).to(x)
        return x * kept / (1 - p) if training and p else x

    monkeypatch.setattr(F, "dropout", drop)
    set_dropout(gpt2, 0.0)
    set_dropout(gpt2, 0.3, gpt2.config.n_layer - 1, embeddings=False)
    for module in reference.modules():
        if isinstance(module, torch.nn.Dropout):
            module.eval()
    last = reference.h[-1].train()
    assert last.attn.attn_dropout.p == 0.3
    for module in reference.h[:-1]:
        module.eval()
    expected = [reference(torch.tensor([m])).last_hidden_state[0, -1] for m in messages]
    assert_close(gpt2.last_hidden_states(pack(messages)), torch.stack(expected), atol=1e-4, rtol=0)
    gpt2.eval()
    assert not torch.allclose(gpt2.last_hidden_states(pack(messages)), torch.stack(expected))


@torch.no_grad()
def test_nothing_is_dropped_in_evaluation_nor_where_blocks_are_frozen(pair, messages):
    _, gpt2 = pair
    packed, n_layer = pack(messages), gpt2.config.n_layer
    assert not torch.equal(gpt2(packed), gpt2(packed))
    gpt2.eval()
    assert torch.equal(gpt2(packed), gpt2(packed))
    gpt2.train()
    set_dropout(gpt2, 0.0)
    assert torch.equal(gpt2(packed), gpt2(packed))
    set_dropout(gpt2, 0.3, n_layer - 1, embeddings=False)
    before = gpt2.hidden_states_after(packed, n_layer - 1)
    assert torch.equal(gpt2.hidden_states_after(packed, n_layer - 1), before)
    assert not torch.equal(gpt2(packed), gpt2(packed))
