"""What processes that share a command leave to each other; torchrun's own are in tests/faults."""

import sys

import pytest
import torch

from spamgpt.cli import together
from spamgpt.cli.together import check_command, telling
from spamgpt.errors import SpamgptError, ToldElsewhere, UsageError

ERROR = SpamgptError("No.", "Never.")


@pytest.fixture
def as_rank(monkeypatch):
    """Lets this process be one of several, which share a store."""
    store = torch.distributed.HashStore()

    def be(rank: int) -> None:
        monkeypatch.setattr(together, "_joined", [(store, rank, sys.stdout, sys.stderr)])

    return be


def test_an_error_of_several_is_told_by_the_first_that_met_it(as_rank):
    told = []
    for rank, error in ((0, ToldElsewhere()), (2, ERROR), (1, ERROR), (2, ERROR)):
        as_rank(rank)
        with telling(error) as mine:
            told.append(mine)
    assert told == [False, True, False, True]


def test_alone_every_error_is_told():
    for _ in range(2):
        with telling(ERROR) as mine:
            assert mine


def test_who_prints_nothing_is_heard_where_it_tells_an_error(as_rank, capsys, monkeypatch):
    as_rank(1)
    with open("/dev/null", "w") as nowhere, monkeypatch.context() as patch:  # noqa: PTH123
        patch.setattr(sys, "stderr", nowhere)
        print("unheard", file=sys.stderr)
        with telling(ERROR):
            print("heard", file=sys.stderr)
    assert capsys.readouterr().err == "heard\n"


def test_several_processes_share_training_alone(as_rank):
    check_command("predict")
    as_rank(0)
    for name in ("finetune", "pretrain"):
        check_command(name)
    with pytest.raises(UsageError, match="cannot share spamgpt predict"):
        check_command("predict")
