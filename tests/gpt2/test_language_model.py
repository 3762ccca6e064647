import pytest
import torch
import transformers

from spamgpt.gpt2.config import GPT2Config
from spamgpt.gpt2.language_model import next_token_losses
from spamgpt.gpt2.model import GPT2
from spamgpt.gpt2.packing import pack


def test_the_loss_is_that_of_transformers():
    config = transformers.GPT2Config(
        n_layer=2, n_head=2, n_embd=32, vocab_size=262, n_positions=64,
        resid_pdrop=0, embd_pdrop=0, attn_pdrop=0, bos_token_id=261, eos_token_id=261,
    )  # fmt: skip
    theirs = transformers.GPT2LMHeadModel(config).eval()
    ours = GPT2(GPT2Config(n_layer=2, n_head=2, n_embd=32, vocab_size=262, n_positions=64))
    ours.load_state_dict(theirs.transformer.state_dict())
    messages = [[5, 6, 7, 8], [9], [10, 11, 12, 13, 14, 15, 16]]
    losses = next_token_losses(ours, pack(messages))
    assert losses.shape == (3 + 0 + 6,)
    expected = [
        theirs(input_ids=torch.tensor([m]), labels=torch.tensor([m])).loss.item() * (len(m) - 1)
        for m in messages
        if len(m) > 1
    ]
    assert losses.sum().item() == pytest.approx(sum(expected), rel=1e-5)
