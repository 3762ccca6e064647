import pytest
import torch

from spamgpt.device import resolve_device, resolve_precision
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


def test_eight_bits_are_refused_where_their_sums_could_overflow(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True})
    with pytest.raises(UsageError, match="AVX512-VNNI"):
        resolve_precision("int8", torch.device("cpu"))
    with pytest.raises(UsageError, match="AVX512-VNNI"):
        resolve_precision("int8", torch.device("cuda"))


def test_auto_never_takes_eight_bits():
    assert resolve_precision("auto", torch.device("cpu")) in (torch.bfloat16, torch.float32)
