"""Which processor computes: `auto`, `cpu`, `cuda` or `mps`; and in which precision."""

from typing import TYPE_CHECKING, Literal

from spamgpt.errors import UsageError

if TYPE_CHECKING:
    import torch

Device = Literal["auto", "cpu", "cuda", "mps"]
TrainingPrecision = Literal["auto", "fp32", "bf16"]
Precision = Literal[TrainingPrecision, "int8"]


def resolve_device(name: Device) -> "torch.device":
    """The device of a name, `auto` being the fastest present; raises UsageError if it is absent."""
    import torch

    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return torch.device(next((kind for kind, present in available.items() if present), "cpu"))
    if not available.get(name, True):
        raise UsageError(f"This machine has no {name} device.", "Use --device auto.")
    return torch.device(name)


def resolve_precision(name: Precision, device: "torch.device") -> "torch.dtype":
    """The type of a precision, `auto` being bfloat16 where the device is made for it.

    Raises UsageError for int8 where the device is not made for it.
    """
    import torch

    if name == "int8":
        if not _int8_is_exact(device):
            raise UsageError(
                "int8 is for processors that sum 8-bit products exactly (AVX512-VNNI).",
                "Use --precision auto.",
            )
        return torch.int8
    if name == "auto":
        name = "bf16" if _bfloat16_is_fast(device) else "fp32"
    return torch.bfloat16 if name == "bf16" else torch.float32


def _bfloat16_is_fast(device: "torch.device") -> bool:
    """Whether a device has instructions for bfloat16 matrix products."""
    import torch

    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities() if device.type == "cpu" else {}
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def _int8_is_exact(device: "torch.device") -> bool:
    """Whether a device adds up products of 8-bit integers in 32 bits; without, sums overflow."""
    import torch

    capabilities = torch.cpu.get_capabilities() if device.type == "cpu" else {}
    return bool(capabilities.get("avx512_vnni") and torch.backends.mkldnn.is_available())
