"""Which processor computes, with how many threads of it, and in which precision."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from spamgpt.errors import UsageError

if TYPE_CHECKING:
    import torch

Device = Literal["auto", "cpu", "cuda", "mps"]
TrainingPrecision = Literal["auto", "fp32", "bf16"]
Precision = Literal[TrainingPrecision, "int8"]
# Of glibc's malloc.h: from how many bytes on a block comes from the system, and how many free ones
# are returned to it.
_MALLOC_MMAP_THRESHOLD, _MALLOC_TRIM_THRESHOLD = -3, -1


def resolve_device(name: Device) -> "torch.device":
    """The device of a name, `auto` being the fastest present; raises UsageError if it is absent."""
    import torch

    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return torch.device(next((kind for kind, present in available.items() if present), "cpu"))
    if not available.get(name, True):
        raise UsageError(f"This machine has no {name} device.", "Use `device=auto`.")
    return torch.device(name)


def resolve_precision(name: Precision, device: "torch.device") -> "torch.dtype":
    """The type of a precision, `auto` being bfloat16 where the device is made for it.

    Raises UsageError for int8 where the device is not made for it or torch's operators are not
    usable.
    """
    import torch

    if name == "int8":
        from spamgpt.gpt2.backends.projections import quantized_projections_work

        if not _int8_is_exact(device):
            raise UsageError(
                "int8 needs a processor that sums 8-bit products exactly (AVX512-VNNI).",
                "Use `precision=auto`.",
            )
        if not quantized_projections_work():
            raise UsageError(
                f"torch {torch.__version__} does not compute int8 products on this processor.",
                "Use `precision=auto`.",
            )
        return torch.int8
    if name == "auto":
        name = "bf16" if _bfloat16_is_fast(device) else "fp32"
    return torch.bfloat16 if name == "bf16" else torch.float32


def set_threads(threads: int | None) -> None:
    """Sets the number of CPU threads; None chooses one that leaves room for other processes.

    Takes effect before torch is loaded, without loading it, and for a number also afterwards. None
    leaves what OMP_NUM_THREADS says. The last bits of what is computed depend on the number.
    """
    if threads is None:
        cores = _cores()
        threads = default_threads(cores, _cpu_quota())
        chosen = os.environ.keys() & {"OMP_NUM_THREADS", "MKL_NUM_THREADS"}
        # Elsewhere torch itself leaves some kinds of cores to others.
        if threads == cores or chosen or "torch" in sys.modules or sys.platform != "linux":
            return
    if "torch" in sys.modules:
        import torch

        torch.set_num_threads(threads)
        return
    os.environ["OMP_NUM_THREADS"] = str(threads)
    if threads > _cores():  # which MKL takes for a mistake unless told otherwise
        os.environ.setdefault("MKL_DYNAMIC", "FALSE")


def keep_freed_memory() -> None:
    """Lets this process keep what it frees for what it allocates next.

    glibc returns large blocks to the system at once. Then every step of training and every batch
    begins with new pages, which the system has to clear first: up to a sixth of the time. Of memory
    it takes little more: 128 MB are kept. Does nothing with other C libraries.
    """
    if sys.platform != "linux":
        return
    import ctypes

    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    # Older versions take a smaller one at most, and what they refuse would stay at its least.
    if mallopt and any(mallopt(_MALLOC_MMAP_THRESHOLD, most) for most in (2**30, 2**25)):
        mallopt(_MALLOC_TRIM_THRESHOLD, 2**27)


@contextmanager
def at_most_threads(most: int) -> Iterator[None]:
    """Computes on the CPU with at most so many threads, and at least with one."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, min(threads, most)))
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def default_threads(cores: int, quota: float | None) -> int:
    """The threads for so many cores, of which a container may use `quota`.

    All threads wait for the slowest: with one on a core that is shared with another process, the
    others idle half of the time. So of more than four cores one is left to others.
    """
    room = cores - 1 if cores > 4 else cores
    return room if quota is None else max(1, min(room, int(quota)))


def _cores() -> int:
    """The cores that this process may run on; two threads of a core count once, as for torch."""
    if sys.platform != "linux":
        return os.cpu_count() or 1
    cpus = os.sched_getaffinity(0)
    topology = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"
    try:
        return len({Path(topology.format(cpu)).read_text() for cpu in cpus})
    except OSError:
        return len(cpus)


def _cpu_quota() -> float | None:
    """The CPUs' worth of time that a container (cgroup version 2) may use; None: all."""
    try:
        limit, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return int(limit) / int(period)
    except (OSError, ValueError):  # none, or "max"
        return None


def machine_memory() -> int | None:
    """The bytes of memory of this machine or of its container (cgroup version 2); None: unknown."""
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # Windows
        return None
    try:
        return min(memory, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    except (OSError, ValueError):  # none, or "max"
        return memory


def memory_problem(parameters: int, bytes_each: int) -> str | None:
    """What so many parameters would take if that is more than the machine has; None if not."""
    needed, memory = parameters * bytes_each, machine_memory()
    if memory is None or needed <= memory:
        return None
    return (
        f"{parameters:,} parameters take at least {needed / 1e9:,.0f} GB of memory; "
        f"this machine has {memory / 1e9:,.0f} GB"
    )


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
