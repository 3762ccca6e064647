import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from spamgpt.errors import IntegrityError, MissingInputError
from spamgpt.training.checkpoint import (
    Checkpoint,
    CheckpointError,
    Saving,
    clear_places,
    places,
)

RECORD = {"settings": {"epochs": 3}}
STATE = {"trained": {"head.weight": torch.arange(3.0)}, "history": [{"epoch": 1}], "best": None}


def interrupted(root: Path, record: dict = RECORD) -> Checkpoint:
    with Checkpoint.start(root, "finetune", record) as checkpoint:
        checkpoint.save(STATE)
    return checkpoint


def test_what_is_saved_is_loaded(tmp_path):
    interrupted(tmp_path)
    (found,) = Checkpoint.interrupted(tmp_path, "finetune")
    assert found.record == RECORD
    state = found.load()
    assert state["history"] == STATE["history"]
    assert torch.equal(state["trained"]["head.weight"], torch.arange(3.0))


def test_a_run_that_saved_nothing_leaves_nothing(tmp_path):
    with pytest.raises(ZeroDivisionError), Checkpoint.start(tmp_path, "finetune", RECORD):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_a_finished_run_leaves_nothing(tmp_path):
    with Checkpoint.start(tmp_path, "finetune", RECORD) as checkpoint:
        checkpoint.save(STATE)
        checkpoint.remove()
    assert list(tmp_path.iterdir()) == []


def test_the_run_saved_last_comes_first(tmp_path):
    for epochs in (1, 2, 3):
        interrupted(tmp_path, {"settings": {"epochs": epochs}})
    found = Checkpoint.interrupted(tmp_path, "finetune")
    order = [checkpoint.record["settings"]["epochs"] for checkpoint in found]
    assert order == [3, 2, 1]


def test_the_runs_of_another_stage_are_not_among_them(tmp_path):
    interrupted(tmp_path)
    assert Checkpoint.interrupted(tmp_path, "pretrain") == []


def test_equal_runs_at_once_have_places_of_their_own(tmp_path):
    with (
        Checkpoint.start(tmp_path, "finetune", RECORD) as first,
        Checkpoint.start(tmp_path, "finetune", RECORD) as second,
    ):
        assert first.folder != second.folder


def test_a_run_under_way_is_not_resumed(tmp_path):
    with Checkpoint.start(tmp_path, "finetune", RECORD) as checkpoint:
        checkpoint.save(STATE)
        with pytest.raises(MissingInputError) as refused, resumed(tmp_path):
            pass
        assert refused.value.hint == "The last one has other inputs, or is under way."
    with resumed(tmp_path) as found:
        assert found.folder == checkpoint.folder


def test_the_last_run_that_fits_is_resumed(tmp_path):
    for seed in (1, 2, 3):
        interrupted(tmp_path, {"settings": {"seed": seed, "epochs": 3}})
    with resumed(tmp_path, lambda place: place.record["settings"]["seed"] < 3) as found:
        assert found.record["settings"]["seed"] == 2
    missing = pytest.raises(MissingInputError, match="of finetune with these")
    with missing as refused, resumed(tmp_path, lambda place: False):
        pass
    assert refused.value.hint == "The last one has `seed=3`."


def resumed(root: Path, fits=lambda place: True):
    return Checkpoint.resume(root, "finetune", {"seed": 9, "epochs": 3}, fits)


def test_a_damaged_state_is_named(tmp_path):
    checkpoint = interrupted(tmp_path)
    path = checkpoint.folder / "state.pt"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(IntegrityError, match=r"state\.pt is damaged"):
        checkpoint.load()


def test_a_flipped_byte_in_a_state_is_noticed(tmp_path):
    checkpoint = interrupted(tmp_path)
    path = checkpoint.folder / "state.pt"
    content = path.read_bytes()
    place = content.index(STATE["trained"]["head.weight"].numpy().tobytes()) + 5
    path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    with pytest.raises(IntegrityError, match=r"state\.pt is damaged"):
        checkpoint.load()


def test_starting_again_does_not_touch_an_interrupted_run(tmp_path):
    first = interrupted(tmp_path)
    before = (first.folder / "state.pt").read_bytes()
    second = interrupted(tmp_path)
    assert second.folder != first.folder
    assert (first.folder / "state.pt").read_bytes() == before


def test_a_damaged_record_does_not_stand_in_the_way_of_others(tmp_path):
    (interrupted(tmp_path).folder / "run.json").write_text("{")
    other = interrupted(tmp_path, {"settings": {"epochs": 9}})
    assert [found.folder for found in Checkpoint.interrupted(tmp_path, "finetune")] == [
        other.folder
    ]


def test_a_state_cannot_run_code(tmp_path):
    checkpoint = interrupted(tmp_path)
    victim = tmp_path / "victim"
    victim.touch()

    class Attack:
        def __reduce__(self):
            return (Path.unlink, (victim,))

    (checkpoint.folder / "state.pt").write_bytes(pickle.dumps(Attack(), protocol=2))
    with pytest.raises(IntegrityError):
        checkpoint.load()
    assert victim.exists()


def test_places_tell_what_there_is_and_what_of_it_is_under_way(tmp_path):
    interrupted(tmp_path)
    left = tmp_path / "checkpoints" / "pretrain-0123456789ab"  # by a run killed before it saved
    left.mkdir()
    (left / ".lock").touch()
    with Checkpoint.start(tmp_path, "finetune", {"settings": {"epochs": 9}}) as running:
        running.save(STATE)
        found = {place.folder: place for place in places(tmp_path)}
        assert len(found) == 3
        assert found[running.folder].under_way
        assert found[running.folder].record == {"settings": {"epochs": 9}}
        assert found[running.folder].size > 500
        assert (found[left].stage, found[left].resumable) == ("pretrain", False)
        assert sum(place.under_way for place in found.values()) == 1


def test_clearing_keeps_what_can_be_resumed_unless_asked_and_always_what_is_under_way(tmp_path):
    first = interrupted(tmp_path)
    left = tmp_path / "checkpoints" / "finetune-0123456789ab"
    left.mkdir()
    with Checkpoint.start(tmp_path, "finetune", {"settings": {"epochs": 9}}) as running:
        running.save(STATE)
        clear_places(tmp_path, resumable=False)
        assert {place.folder for place in places(tmp_path)} == {first.folder, running.folder}
        assert clear_places(tmp_path, resumable=True) > 500
        assert [place.folder for place in places(tmp_path)] == [running.folder]
        assert running.load()["history"] == STATE["history"]
    assert clear_places(tmp_path, resumable=True) > 500
    assert list(tmp_path.iterdir()) == []
    assert clear_places(tmp_path / "none", resumable=True) == 0


def test_a_large_model_is_saved_less_often(monkeypatch):
    now, saved = 0.0, []
    monkeypatch.setattr("time.monotonic", lambda: now)

    def save() -> None:
        nonlocal now
        saved.append(now)
        now += cost

    for cost, wait in ((0.1, 10), (2, 100)):
        now, saved[:] = 0.0, []
        saving = Saving(save)
        while now < 350:
            saving.after_step()
            now += 0.5
        assert np.diff(saved) == pytest.approx(wait + cost, abs=1)


def test_what_was_saved_stays_where_the_disk_is_full(tmp_path, monkeypatch):
    checkpoint = interrupted(tmp_path)
    save = torch.save
    monkeypatch.setattr(torch, "save", lambda state, file: save(state, "/dev/full"))
    with pytest.raises(CheckpointError, match="could not be written"):
        checkpoint.save({"trained": {}})
    assert not (checkpoint.folder / "state.pt.new").exists()
    assert checkpoint.load()["history"] == STATE["history"]
