import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from spamgpt.gpt2.config import GPT2Config
from spamgpt.gpt2.dropout import Dropout
from spamgpt.gpt2.model import GPT2
from spamgpt.gpt2.packing import pack
from spamgpt.gpt2.weights import load_gpt2

DROPOUT = {"embd_pdrop": 0.3, "attn_pdrop": 0.3, "resid_pdrop": 0.3}


@pytest.fixture
def pair(make_reference) -> tuple[torch.nn.Module, GPT2]:
    """transformers' model and ours, both in training mode and with dropout."""
    reference, folder = make_reference(attn_implementation="eager", **DROPOUT)
    gpt2 = load_gpt2(GPT2Config.from_file(folder / "config.json"), folder / "model.safetensors")
    gpt2.set_dropout(0.3)
    return reference.train(), gpt2.train()


@torch.no_grad()
def test_what_is_dropped_is_dropped_where_transformers_drops(pair, messages, monkeypatch):
    reference, gpt2 = pair
    for message in messages:
        packed = pack([message])
        sites = iter(range(3 * gpt2.config.n_layer + 1))

        def drop(x, p=0.5, training=True, inplace=False, packed=packed, sites=sites):
            """Drops what we do in the same place."""
            return x * Dropout(p, next(sites)).kept(packed.draws[0], x.shape[1:], x)

        with monkeypatch.context() as patch:
            patch.setattr(F, "dropout", drop)
            expected = reference(torch.tensor([message])).last_hidden_state[0]
        assert next(sites, None) is None
        assert_close(gpt2(packed), expected, atol=1e-4, rtol=0)


@torch.no_grad()
def test_a_share_is_dropped_and_the_rest_makes_up_for_it():
    kept = Dropout(0.3, 5).kept(7, (300, 300), torch.empty(0))
    assert kept.unique().tolist() == pytest.approx([0, 1 / 0.7])
    assert kept.mean().item() == pytest.approx(1, abs=0.01)
    assert torch.equal(kept, Dropout(0.3, 5).kept(7, (300, 300), torch.empty(0)))
    for other in (Dropout(0.3, 6).kept(7, (300, 300), torch.empty(0)), kept.T):
        assert (kept > 0).eq(other > 0).double().mean().item() == pytest.approx(0.58, abs=0.01)


@pytest.mark.parametrize("pattern", ["causal", "full"])
@torch.no_grad()
def test_what_a_message_loses_does_not_depend_on_the_batch(pair, messages, pattern):
    _, gpt2 = pair
    gpt2.attention = pattern
    messages = sorted(messages, key=len)

    def read(model, chosen):
        torch.manual_seed(5)
        return model(pack(chosen))

    for model in (gpt2, gpt2.last_hidden_states):
        together = read(model, messages)
        alone = [read(model, [message]) for message in messages]
        assert_close(together, torch.cat(alone), atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_where_one_token_is_read_it_loses_what_it_loses_in_the_whole(pair, messages, monkeypatch):
    reference, gpt2 = pair

    def drop(x, p=0.5, training=True, inplace=False):
        """Drops every third column instead of random ones."""
        kept = (torch.arange(x.shape[-1]) % 3 != 1).to(x)
        return x * kept / (1 - p) if training and p else x

    def kept(self, draw, shape, like):
        return drop(like.new_ones(tuple(shape)), self.share)

    monkeypatch.setattr(F, "dropout", drop)
    monkeypatch.setattr(Dropout, "kept", kept)
    gpt2.set_dropout(0.0)
    gpt2.set_dropout(0.3, gpt2.config.n_layer - 1, embeddings=False)
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
    assert not torch.equal(gpt2(packed), gpt2(pack(messages)))
    gpt2.eval()
    assert torch.equal(gpt2(packed), gpt2(packed))
    gpt2.train()
    gpt2.set_dropout(0.0)
    assert torch.equal(gpt2(packed), gpt2(packed))
    gpt2.set_dropout(0.3, n_layer - 1, embeddings=False)
    before = gpt2.hidden_states_after(packed, n_layer - 1)
    assert torch.equal(gpt2.hidden_states_after(packed, n_layer - 1), before)
    assert not torch.equal(gpt2(packed), gpt2(pack(messages)))
