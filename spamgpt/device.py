"""Which processor computes: `auto`, `cpu`, `cuda` or `mps`."""

from typing import TYPE_CHECKING, Literal

from spamgpt.errors import UsageError

if TYPE_CHECKING:
    import torch

Device = Literal["auto", "cpu", "cuda", "mps"]


def resolve_device(name: Device) -> "torch.device":
    """The device of a name, `auto` being the fastest present; raises UsageError if it is absent."""
    import torch

    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return torch.device(next((kind for kind, present in available.items() if present), "cpu"))
    if not available.get(name, True):
        raise UsageError(f"This machine has no {name} device.", "Use --device auto.")
    return torch.device(name)
