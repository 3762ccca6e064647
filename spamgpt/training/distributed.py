"""Where several processes that train one model meet (`torchrun`); alone, nothing is computed.

A process takes its share of each batch. All of them start from the same weights, average their
gradients before each step, and so stay equal.
"""

from collections.abc import Iterable, Sequence
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

Item = TypeVar("Item")
_AVAILABLE = dist.is_available()


def rank() -> int:
    """The number of this process, from 0."""
    return dist.get_rank() if _several() else 0


def size() -> int:
    """How many processes train together."""
    return dist.get_world_size() if _several() else 1


def is_main() -> bool:
    """Whether this is the one process that writes files."""
    return rank() == 0


def share_of(batch: Sequence[Item]) -> Sequence[Item]:
    """What this process takes of a batch; nothing where the batch is smaller than its rank."""
    return batch[rank() :: size()] if _several() else batch


def average_gradients(parameters: Iterable[Tensor], weight: float, device: torch.device) -> None:
    """Replaces every gradient by its mean over the processes, each counted by its `weight`.

    `weight` is how much the loss of this process is the mean of (messages or tokens); with it, the
    result is the gradient of the mean loss over the whole batch. A process of weight 0 needs no
    gradients. Every process has to call it, with the same parameters in the same order.
    """
    if not _several():
        return
    whole = total(weight, device)
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        parameter.grad.mul_(weight / whole)
        dist.all_reduce(parameter.grad)


def mean(value: float, weight: float, device: torch.device) -> float:
    """The mean of a value over the processes, each counted by its `weight`; all have to call it."""
    if not _several():
        return value
    return total(value * weight, device) / total(weight, device)


def total(value: float, device: torch.device) -> float:
    """The sum of a value over the processes; every one has to call it."""
    if not _several():
        return value
    summed = torch.tensor(value, dtype=torch.float64, device=device)
    dist.all_reduce(summed)
    return summed.item()


def _several() -> bool:
    return _AVAILABLE and dist.is_initialized()
