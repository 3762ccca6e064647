import subprocess
import sys

import torch

from spamgpt.training import distributed

CPU = torch.device("cpu")

# Two processes with three and one of four messages; in the last step the second one has none.
PROGRAM = """
import sys, torch
import torch.distributed as dist
from spamgpt.training import distributed
from spamgpt.training.distributed import average_gradients, is_main, mean, share_of, total

rank, file, size = int(sys.argv[1]), sys.argv[2], 2
dist.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=size)
cpu = torch.device("cpu")
assert (distributed.rank(), distributed.size(), is_main()) == (rank, size, rank == 0)

def gradient(weight, values):
    weight.grad = None
    if values:
        ((torch.tensor(values) * weight) ** 2).mean().backward()

for values in ([1.0, 2.0, 3.0], [4.0]):
    alone, together = (torch.nn.Parameter(torch.tensor(0.5)) for _ in range(2))
    gradient(alone, values)
    mine = share_of(values)
    gradient(together, mine)
    average_gradients([together], len(mine), cpu)
    torch.testing.assert_close(together.grad, alone.grad)
    loss = sum(mine) / len(mine) if mine else 0.0
    assert mean(loss, len(mine), cpu) == sum(values) / len(values)
    assert total(1.0, cpu) == 2
dist.destroy_process_group()
"""


def test_two_processes_average_to_the_gradient_of_one(tmp_path):
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(rank), tmp_path / "meeting"],
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    for process in processes:
        _, error = process.communicate(timeout=120)
        assert process.returncode == 0, error


def test_alone_there_is_one_process_and_nothing_is_changed():
    parameter = torch.nn.Parameter(torch.ones(2))
    parameter.grad = gradient = torch.tensor([1.0, 3.0])
    distributed.average_gradients([parameter], 5, CPU)
    assert parameter.grad is gradient
    assert distributed.is_main()
    assert (distributed.rank(), distributed.size()) == (0, 1)
    assert distributed.share_of([1, 2, 3]) == [1, 2, 3]
    assert distributed.mean(2.5, 7, CPU) == distributed.total(2.5, CPU) == 2.5
