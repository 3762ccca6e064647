import pytest
import torch
import transformers

from spamgpt.gpt2.config import GPT2Config
from spamgpt.gpt2.language_model import next_token_loss
from spamgpt.gpt2.model import GPT2
from spamgpt.gpt2.packing import pack
from spamgpt.gpt2.weights import random_weights


def test_the_loss_is_that_of_transformers():
    config = transformers.GPT2Config(
        n_layer=2, n_head=2, n_embd=32, vocab_size=262, n_positions=64,
        resid_pdrop=0, embd_pdrop=0, attn_pdrop=0, bos_token_id=261, eos_token_id=261,
    )  # fmt: skip
    theirs = transformers.GPT2LMHeadModel(config).eval()
    ours = GPT2(GPT2Config(n_layer=2, n_head=2, n_embd=32, vocab_size=262, n_positions=64))
    ours.load_state_dict(theirs.transformer.state_dict())
    rng = torch.Generator().manual_seed(7)
    # More tokens than the loss takes at once.
    lengths = [4, 1, 7, *[50] * 20]
    messages = [torch.randint(262, (length,), generator=rng).tolist() for length in lengths]
    loss = next_token_loss(ours, pack(messages))
    loss.backward()
    predicted = sum(length - 1 for length in lengths)
    expected = torch.tensor(0.0)
    for message in messages:
        if len(message) > 1:
            ids = torch.tensor([message])
            expected = expected + theirs(input_ids=ids, labels=ids).loss * (len(message) - 1)
    expected = expected / predicted
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    gradients = dict(theirs.transformer.named_parameters())
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(
            parameter.grad, gradients[name].grad, atol=1e-7, rtol=1e-4, msg=name
        )


def test_autocast_changes_the_loss_and_its_gradient_only_by_rounding():
    torch.manual_seed(0)
    config = GPT2Config(n_layer=2, n_head=2, n_embd=32, vocab_size=262, n_positions=64)
    model = GPT2(config)
    model.load_state_dict(random_weights(config, seed=1))
    packed = pack([torch.randint(262, (40,)).tolist() for _ in range(20)])
    results = []
    for enabled in (False, True):
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            loss = next_token_loss(model, packed)
        loss.backward()
        gradient = torch.cat([parameter.grad.flatten() for parameter in model.parameters()])
        results.append((loss.item(), gradient))
    (plain_loss, plain), (low_loss, low) = results
    assert low.dtype == torch.float32
    assert 0 < abs(plain_loss - low_loss) < 0.01
    assert torch.cosine_similarity(plain, low, dim=0) > 0.999
    assert low.norm().item() == pytest.approx(plain.norm().item(), rel=0.01)
