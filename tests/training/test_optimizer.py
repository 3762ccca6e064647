import copy
import subprocess
import sys

import torch

from spamgpt.training.optimizer import AdamW


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
