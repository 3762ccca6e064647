"""Training with the weights, gradients and moments spread over the processes: torch's FSDP2.

Each process holds its part of every tensor and gathers the whole of a block when it is run (Zhao et
al. 2023, PyTorch FSDP). What is saved and loaded is whole: another number of processes goes on.
"""

from typing import Any

import torch
from torch import Tensor

from spamgpt.errors import UsageError
from spamgpt.gpt2.classifier import GPT2Classifier
from spamgpt.training import distributed
from spamgpt.training.policy import TrainingPolicy


def check_shardable(policy: TrainingPolicy) -> None:
    """Raises UsageError unless several processes train all of a model."""
    if policy.name != "all" or policy.lora:
        raise UsageError(
            "`shard` is for models that are trained as a whole.",
            "Add `unfreeze=all`; what is trained less of needs little memory.",
        )
    if distributed.size() == 1:
        raise UsageError(
            "`shard` spreads a model over several processes; this is one.",
            "Start several with torchrun.",
        )


def shard(model: GPT2Classifier, device: torch.device) -> None:
    """Spreads the parameters of a classifier over all processes, which have the same ones."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

    mesh = init_device_mesh(device.type, (distributed.size(),))
    for block in model.gpt2.h:
        fully_shard(block, mesh=mesh)
        register_fsdp_forward_method(block, "one_only")
    fully_shard(model, mesh=mesh)


def is_sharded(tensor: Tensor) -> bool:
    """Whether a process holds a part of a tensor only."""
    # By its attribute: who has no process group should not import DTensor to look at a tensor.
    return hasattr(tensor, "full_tensor")


def local(tensor: Tensor) -> Tensor:
    """What this process holds of a tensor, in the same memory."""
    part: Tensor = getattr(tensor, "to_local", lambda: tensor)()
    return part


def whole(value: Any) -> Any:
    """Dictionaries, lists and plain values with the whole of every tensor in them.

    Of a sharded tensor only the main process gets it, on the CPU; all processes have to call it.
    """
    if isinstance(value, dict):
        return {name: whole(each) for name, each in value.items()}
    if isinstance(value, list):
        return [whole(each) for each in value]
    if not isinstance(value, Tensor) or not is_sharded(value):
        return value
    gathered: Tensor = value.full_tensor()  # type: ignore[attr-defined]
    return gathered.cpu() if distributed.is_main() else gathered.new_empty(0)


@torch.no_grad()
def assign(tensor: Tensor, values: Tensor) -> None:
    """Puts values, whole or sharded alike, into a tensor."""
    if is_sharded(tensor) and not is_sharded(values):
        values = like(tensor, values)
    tensor.copy_(values)


def like(tensor: Tensor, values: Tensor) -> Tensor:
    """Whole values, sharded as a tensor is, if it is."""
    if not is_sharded(tensor):
        return values
    from torch.distributed.tensor import DTensor, distribute_tensor

    assert isinstance(tensor, DTensor)
    # Every process has them all: nothing is sent.
    moved = values.to(tensor.device)
    return distribute_tensor(moved, tensor.device_mesh, tensor.placements, src_data_rank=None)
