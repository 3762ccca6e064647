"""Several processes learn what one learns, and fewer go on with what they left."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from spamgpt.training import distributed

from . import together
from .together import RUNS, all_runs, finetune

Found = dict[str, Any]
TOLERANCE = {"float32": 1e-4, "trunk": 1e-4, "float64": 1e-6, "sharded": 1e-6, "pretraining": 1e-6}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Where four processes, then two of them, have left what they came to: `SIZE-RANK.pt`."""
    folder = tmp_path_factory.mktemp("together")
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [sys.executable, together.__file__, str(rank), folder],
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for rank in range(4)
    ]
    errors = [process.communicate(timeout=300)[1] for process in processes]
    assert not any(process.returncode for process in processes), "\n".join(errors)
    return folder


@pytest.fixture(scope="module")
def alone(folder) -> Found:
    return all_runs(folder)


# Of how many processes each was trained by.
TRAINED = [(2, name) for name in [*RUNS, "pretraining"]]
TRAINED += [(4, name) for _, name in TRAINED if name != "sharded"]


def found_by(folder: Path, size: int, rank: int = 0) -> Found:
    return torch.load(folder / f"{size}-{rank}.pt")


@pytest.mark.parametrize(("size", "name"), TRAINED)
def test_the_losses_do_not_depend_on_the_number_of_processes(folder, alone, size, name):
    one, several = alone[name], found_by(folder, size)[name]
    assert len(one["losses"]) > 5
    assert several["losses"] == pytest.approx(one["losses"], abs=TOLERANCE[name], rel=0)
    assert len(one["records"]) == len(several["records"])
    for record, expected in zip(several["records"], one["records"], strict=True):
        assert record == pytest.approx(expected, abs=TOLERANCE[name], rel=0)


@pytest.mark.parametrize(("size", "name"), TRAINED)
def test_all_processes_measure_the_same_and_stay_equal(folder, size, name):
    main, last = (found_by(folder, size, rank)[name] for rank in (0, size - 1))
    assert main["losses"] == last["losses"]
    assert main["records"] == last["records"]
    for tensor, other in zip(main["weights"].values(), last["weights"].values(), strict=True):
        # Of what is sharded only the main process has the whole.
        assert torch.equal(tensor, other) or (name == "sharded" and not other.numel())


@pytest.mark.parametrize("name", RUNS)
def test_another_number_of_processes_goes_on(folder, alone, name):
    resumed = found_by(folder, 2)["resumed"][name]
    state = found_by(folder, 2 if name == "sharded" else 4)[name]["state"]
    steps = len(alone[name]["losses"]) - len(resumed["losses"])
    assert 0 < steps < len(alone[name]["losses"])
    assert resumed["losses"] == pytest.approx(alone[name]["losses"][steps:], abs=TOLERANCE[name])
    by_one = finetune(RUNS[name], folder, state)
    assert by_one["losses"] == pytest.approx(resumed["losses"], abs=TOLERANCE[name])
    for key, tensor in by_one["weights"].items():
        torch.testing.assert_close(resumed["weights"][key], tensor, atol=1e-4, rtol=0)


@pytest.mark.parametrize("size", [2, 4])
def test_the_trunk_is_computed_once_to_the_same_bits(folder, alone, size):
    def arrays(processes: int) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in folder.glob(f"cache-{processes}/*.npy")}

    assert arrays(1)
    assert arrays(size) == arrays(1)
    ran = [found_by(folder, size, rank)["trunk"]["ran"] for rank in range(size)]
    assert sum(ran) == alone["trunk"]["ran"]
    assert min(ran) > 0


def test_a_batch_is_dealt_out_by_tokens(monkeypatch):
    sizes = [40, 3, 3, 30, 12, 1, 9, 20]
    monkeypatch.setattr(distributed, "_several", lambda: True)
    monkeypatch.setattr(distributed, "size", lambda: 3)
    shares = []
    for rank in range(3):
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        shares.append(distributed.share_of(list(range(8)), sizes))
    assert sorted(item for share in shares for item in share) == list(range(8))
    totals = [sum(sizes[item] for item in share) for share in shares]
    assert max(totals) - min(totals) <= 3
    assert shares[0] == sorted(shares[0])


def test_alone_there_is_one_process():
    assert distributed.is_main()
    assert (distributed.rank(), distributed.size()) == (0, 1)
    assert distributed.share_of([1, 2, 3], [1, 1, 1]) == [1, 2, 3]
    assert distributed.sums(2.5, True) == [2.5, 1]
    assert distributed.gathered("a") == ["a"]
    model = torch.nn.Linear(1, 1)
    assert distributed.replicated(model) is model
