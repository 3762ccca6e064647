import copy
import subprocess
import sys

import pytest
import torch

from spamgpt.gpt2.config import GPT2Config
from spamgpt.gpt2.language_model import next_token_loss
from spamgpt.gpt2.model import GPT2
from spamgpt.gpt2.packing import pack
from spamgpt.gpt2.weights import random_weights
from spamgpt.training.optimizer import AdamW, Muon, pretraining_optimizer


def parameters() -> list[torch.nn.Parameter]:
    generator = torch.Generator().manual_seed(3)
    return [torch.nn.Parameter(torch.randn(s, generator=generator)) for s in [(17, 9), (5,), ()]]


def loss(values: list[torch.nn.Parameter], step: int) -> torch.Tensor:
    return sum(((value - step) ** 2).sum() for value in values)


def test_its_steps_are_those_of_torch_bit_for_bit():
    ours, theirs = parameters(), parameters()
    one = AdamW(ours, 0.01, weight_decay=0.1)
    other = torch.optim.AdamW(theirs, lr=0.01, weight_decay=0.1, fused=True)
    for step in range(20):
        one.learning_rate = other.param_groups[0]["lr"] = 0.01 / (1 + step)
        for optimizer, values in ((one, ours), (other, theirs)):
            optimizer.zero_grad()
            loss(values, step).backward()
            optimizer.step()
    for mine, torchs in zip(ours, theirs, strict=True):
        assert torch.equal(mine, torchs)


def test_it_goes_on_from_a_saved_state():
    values = parameters()
    whole = AdamW(values, 0.01, weight_decay=0.1)
    for step in range(6):
        if step == 3:
            state, middle = copy.deepcopy(whole.state_dict()), copy.deepcopy(values)
        whole.zero_grad()
        loss(values, step).backward()
        whole.step()
    resumed = AdamW(middle, 0.01, weight_decay=0.1)
    resumed.load_state_dict(state)
    for step in range(3, 6):
        resumed.zero_grad()
        loss(middle, step).backward()
        resumed.step()
    for value, again in zip(values, middle, strict=True):
        assert torch.equal(value, again)


def test_training_does_not_import_the_compiler():
    program = """
import sys, torch
from spamgpt.training.optimizer import AdamW
parameter = torch.nn.Parameter(torch.ones(3))
one = AdamW([parameter], 0.1, weight_decay=0.1)
parameter.sum().backward()
one.step()
sys.exit("torch._dynamo" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


CONFIG = GPT2Config(n_layer=2, n_head=2, n_embd=16, vocab_size=40, n_positions=16)


def language_model() -> GPT2:
    model = GPT2(CONFIG)
    model.load_state_dict(random_weights(CONFIG, seed=1))
    return model


def test_weight_decay_of_pretraining_is_for_matrices_and_embeddings_only():
    *decayed, others = pretraining_optimizer(language_model(), "adamw", 1e-3, 0.1).members
    for member in decayed:
        assert isinstance(member, AdamW)
        assert member.weight_decay == 0.1
        assert all(parameter.dim() == 2 for parameter in member.parameters)
    assert isinstance(others, AdamW)
    assert others.weight_decay == 0
    assert all(parameter.dim() == 1 for parameter in others.parameters)


def test_muon_is_for_the_matrices_of_the_blocks_and_every_parameter_has_one_optimizer():
    model = language_model()
    muon, embeddings, others = pretraining_optimizer(model, "muon", 1e-3, 0.1).members
    assert isinstance(muon, Muon)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    matrices = {names[id(parameter)] for parameter in muon.matrices}
    assert matrices == {
        name for name in names.values() if name.startswith("h.") and name.endswith("c_fc.weight")
    } | {name for name in names.values() if name.endswith(("c_attn.weight", "c_proj.weight"))}
    assert isinstance(embeddings, AdamW)
    assert [names[id(parameter)] for parameter in embeddings.parameters] == [
        "wte.weight",
        "wpe.weight",
    ]
    assert isinstance(others, AdamW)
    all_of_them = [*muon.matrices, *embeddings.parameters, *others.parameters]
    assert len(all_of_them) == len({id(parameter) for parameter in all_of_them}) == len(names)


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_the_step_of_pretraining_is_that_of_torchs_optimizers(name):
    ours, theirs = language_model(), language_model()
    packed = pack([[3, 7, 9, 2], [8, 8, 1]])
    one = pretraining_optimizer(ours, name, 1e-3, 0.1)
    matrices = [p for n, p in theirs.named_parameters() if n.startswith("h.") and p.dim() > 1]
    embeddings = [theirs.wte.weight, theirs.wpe.weight]
    others = [p for p in theirs.parameters() if p.dim() < 2]
    groups = [
        {"params": embeddings + (matrices if name == "adamw" else []), "weight_decay": 0.1},
        {"params": others, "weight_decay": 0.0},
    ]
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.95), fused=True)
    ]
    if name == "muon":
        optimizers.append(
            torch.optim.Muon(matrices, lr=1e-3, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
        )
    for step in range(5):
        one.learning_rate = 1e-3 / (1 + step)
        one.zero_grad()
        next_token_loss(ours, packed).backward()
        one.step()
        for optimizer in optimizers:
            optimizer.zero_grad()
            optimizer.param_groups[0]["lr"] = optimizer.param_groups[-1]["lr"] = 1e-3 / (1 + step)
        next_token_loss(theirs, packed).backward()
        for optimizer in optimizers:
            optimizer.step()
    for (parameter_name, mine), torchs in zip(
        ours.named_parameters(), theirs.parameters(), strict=True
    ):
        assert torch.equal(mine, torchs), parameter_name
