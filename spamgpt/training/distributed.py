"""Where the processes that train one model together meet (`torchrun`); alone, nothing is computed.

They are torch's own: `torchrun` starts them and has them meet, gloo passes what the CPU holds
between them and NCCL what GPUs hold, DistributedDataParallel lets their gradients meet. All of them
start from the same weights, take the same steps and so stay equal. The main one alone writes.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from datetime import timedelta
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from spamgpt.errors import ToldElsewhere, UsageError

Item = TypeVar("Item")
_AVAILABLE = dist.is_available()
# The others may wait so long for what the main process does alone, such as learn a vocabulary.
_LONGEST = timedelta(hours=2)


def join() -> Any:
    """Meets the other processes of `torchrun`; returns their torch.distributed.Store.

    Of several GPUs of a machine, each process takes its own.
    """
    # Not every build of torch has them.
    from torch.distributed import PrefixStore  # type: ignore[attr-defined]
    from torch.distributed.rendezvous import rendezvous

    store, rank, size = next(rendezvous("env://"))
    if torch.cuda.is_available() and _local_rank() < torch.cuda.device_count():
        torch.cuda.set_device(_local_rank())
    # torchrun's store outlives workers: those started anew must not meet the ones that are gone.
    store = PrefixStore(f"attempt {_restarts()}", store)
    dist.init_process_group(store=store, rank=rank, world_size=size, timeout=_LONGEST)
    return store


def leave() -> None:
    """Parts from the others when all is done. After a failure they may never come."""
    dist.destroy_process_group()


def check_device(device: torch.device) -> None:
    """Raises UsageError if this machine has not a GPU for each of its processes, and needs it."""
    if _several() and device.type == "cuda" and _local_rank() >= torch.cuda.device_count():
        raise UsageError(
            f"There are more processes than GPUs on this machine: {torch.cuda.device_count()}.",
            "Start as many as there are, or compute with `device=cpu`.",
        )
    if _several() and device.type == "mps":
        raise UsageError("Several processes cannot train on mps.", "Use `device=cpu`.")


def restarted() -> bool:
    """Whether `torchrun` has started this process anew after one of them had ended."""
    return _restarts() > 0


def rank() -> int:
    """The number of this process, from 0."""
    return dist.get_rank() if _several() else 0


def size() -> int:
    """How many processes train together."""
    return dist.get_world_size() if _several() else 1


def is_main() -> bool:
    """Whether this is the one process that writes files."""
    return rank() == 0


def share_of(batch: Sequence[Item], sizes: Sequence[int]) -> list[Item]:
    """What this process takes of a batch, in its order; each takes about the same size of it.

    The largest goes first, each to who has least (Graham 1969, Bounds on Multiprocessing Timing
    Anomalies). Nothing where the batch is smaller than the number of processes.
    """
    if not _several():
        return list(batch)
    taken = [0] * size()
    mine = []
    for place in sorted(range(len(batch)), key=lambda place: -sizes[place]):
        least = taken.index(min(taken))
        taken[least] += sizes[place]
        if least == rank():
            mine.append(place)
    return [batch[place] for place in sorted(mine)]


def sums(*values: float) -> list[float]:
    """The sum of each value over the processes; every one has to call it."""
    if not _several():
        return list(values)
    summed = torch.tensor(values, dtype=torch.float64)
    dist.all_reduce(summed)
    return cast(list[float], summed.tolist())


def add_up(tensor: Tensor) -> None:
    """Puts the sum over the processes in the place of a tensor of the CPU; all have to call it."""
    if _several():
        dist.all_reduce(tensor)


def decided_by_main(decision: bool) -> bool:
    """What the main process decides; every one has to call it."""
    return sums(decision and is_main())[0] > 0


def from_main(compute: Callable[[], Item]) -> Item:
    """What the main process computes, given to all of them; every one has to call it.

    Raises what it raises, in the others ToldElsewhere.
    """
    if not _several():
        return compute()
    answer: list[Item | None] = [None]
    failed = [True]
    try:
        if is_main():
            answer, failed = [compute()], [False]
    finally:
        dist.broadcast_object_list(failed)
        if not failed[0]:
            dist.broadcast_object_list(answer)
    if failed[0]:
        raise ToldElsewhere
    return cast(Item, answer[0])


@contextmanager
def held_by_main(enter: Callable[[], AbstractContextManager[Item]]) -> Iterator[Item]:
    """What a context of the main process yields, such as a folder it has locked, for all of them.

    They need not leave it together. Raises what the context raises, in the others ToldElsewhere.
    """
    with ExitStack() as stack:
        yield from_main(lambda: stack.enter_context(enter()))


def gathered(item: Item) -> list[Item]:
    """An item of each process, in their order; every one has to call it."""
    items: list[Item | None] = [item] * size()
    if _several():
        dist.all_gather_object(items, item)
    return cast(list[Item], items)


def send_to_main(tensor: Tensor) -> None:
    """Sends a tensor of the CPU, which the main process has to `receive`."""
    dist.send(tensor.contiguous().view(torch.uint8), dst=0)


def receive(sender: int, like: Tensor) -> Tensor:
    """What a process sends; `like` has its shape and type."""
    dist.recv(like.view(torch.uint8), src=sender)
    return like


def replicated(model: nn.Module) -> nn.Module:
    """The model to call in training: its gradients become the mean over the processes.

    Every one has to run it forward and backward as often as the others.
    """
    if not _several():
        return model
    return DistributedDataParallel(model, gradient_as_bucket_view=True)


def gradients_stay(model: nn.Module) -> AbstractContextManager[None]:
    """Within the block gradients are added up in each process, and meet after it."""
    if isinstance(model, DistributedDataParallel):
        return cast(AbstractContextManager[None], model.no_sync())
    return nullcontext()


def _several() -> bool:
    return _AVAILABLE and dist.is_initialized()


def _restarts() -> int:
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0))


def _local_rank() -> int:
    return int(os.environ.get("LOCAL_RANK", 0))
