import json

import pytest

from spamgpt.training.checkpoint import Checkpoint

RUN = {
    "settings": {"unfreeze": "last-block", "epochs": 3},
    "inputs": [{"artifact": "prepared/v1"}, {"artifact": "models/tiny/v1"}],
}


@pytest.fixture
def interrupted(tmp_path) -> Checkpoint:
    """The checkpoint of an interrupted run in a workspace that has nothing else."""
    with Checkpoint.start(tmp_path, "finetune", RUN) as checkpoint:
        checkpoint.save({"trained": list(range(1000))})
    return checkpoint


def test_checkpoints_of_interrupted_runs_are_listed(spamgpt, tmp_path, interrupted):
    shown = spamgpt("cache", "-w", tmp_path)
    assert "checkpoint of finetune of last-block from prepared/v1 and models/tiny/v1, saved 2" in (
        shown.out
    )
    assert f"MB in {tmp_path / 'checkpoints'}" in shown.out
    (listed,) = json.loads(spamgpt("cache", "--json", "-w", tmp_path).out)["checkpoints"]
    assert listed["folder"] == str(interrupted.folder)
    assert listed["size"] > 1000
    assert not listed["in_progress"]
    noted = spamgpt("artifacts", "-w", tmp_path)
    assert "Runs that have not finished: 1" in noted.err
    assert "spamgpt cache" in noted.err
    told = json.loads(spamgpt("artifacts", "--json", "-w", tmp_path).out)
    assert told["checkpoints"] == [str(interrupted.folder)]


def test_clearing_the_cache_leaves_what_can_be_resumed_unless_asked(spamgpt, tmp_path, interrupted):
    cleared = spamgpt("cache", "--clear", "-w", tmp_path)
    assert cleared.out.startswith("freed")
    assert "checkpoint of finetune" in cleared.out
    assert interrupted.folder.exists()
    assert spamgpt("cache", "--clear", "--checkpoints", "-w", tmp_path).status == 0
    assert not (tmp_path / "checkpoints").exists()
    assert "checkpoint" not in spamgpt("cache", "-w", tmp_path).out


def test_the_checkpoint_of_a_run_in_progress_is_never_removed(spamgpt, tmp_path):
    with Checkpoint.start(tmp_path, "pretrain", {"texts": [["chat", "0f"]]}) as checkpoint:
        checkpoint.save({"trained": [1]})
        shown = spamgpt("cache", "--clear", "--checkpoints", "-w", tmp_path)
        assert "checkpoint of pretrain from chat (in progress)" in shown.out
        assert checkpoint.load() == {"trained": [1]}


def test_removing_checkpoints_has_to_be_said_with_clear(spamgpt, tmp_path, interrupted):
    refused = spamgpt("cache", "--checkpoints", "-w", tmp_path)
    assert refused.status == 2
    assert interrupted.folder.exists()
