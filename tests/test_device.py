import pytest
import torch

from spamgpt.device import resolve_device
from spamgpt.errors import UsageError


def test_auto_takes_what_there_is():
    device = resolve_device("auto")
    torch.zeros(1, device=device)
    if not torch.cuda.is_available() and not torch.backends.mps.is_available():
        assert device.type == "cpu"


def test_a_device_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match="no cuda device"):
        resolve_device("cuda")
