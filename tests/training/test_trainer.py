import errno
import os
import signal
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import pytest
import torch

from spamgpt.errors import Interrupted, SpamgptError
from spamgpt.reporting import SILENT, Reporter, Task
from spamgpt.training.checkpoint import Checkpoint
from spamgpt.training.objective import Bar, TrainingState
from spamgpt.training.optimizer import AdamW
from spamgpt.training.trainer import Trainer

EPOCHS, BATCHES = 3, 4


@dataclass(frozen=True)
class Measured:
    value: float


class Toy:
    """Pulls one number to 1; measures after each epoch."""

    one_bar = True

    def __init__(self) -> None:
        self.model = torch.nn.Linear(1, 1, bias=False)
        torch.nn.init.zeros_(self.model.weight)
        self.measured = [0.5, 0.1, 0.3]

    def batches(self, epoch: int) -> list[list[int]]:
        return [[epoch]] * BATCHES

    def tokens(self, batch: Sequence[int]) -> int:
        return 10

    def loss(self, batch: Sequence[int]) -> tuple[torch.Tensor, int]:
        return 1000 * ((self.model.weight - 1) ** 2).mean(), 1

    def learning_rate(self, state: TrainingState[Measured]) -> float:
        return 0.01

    def is_due(self, state: TrainingState[Measured]) -> bool:
        return state.batches_done == BATCHES and len(state.history) == state.epoch

    def is_finished(self, state: TrainingState[Measured]) -> bool:
        return len(state.history) == EPOCHS

    def measure(self, state: TrainingState[Measured], reporter, should_stop) -> Measured:
        return Measured(self.measured[state.epoch])

    def bar(self, state: TrainingState[Measured]) -> Bar:
        return Bar("Pulling", 10 * EPOCHS * BATCHES, state.tokens, "tokens")

    def where(self, state: TrainingState[Measured]) -> str:
        return f"after {state.tokens} tokens"


def trainer(**options) -> Trainer[Measured]:
    toy = Toy()
    trained = dict(toy.model.named_parameters())
    return Trainer(toy, Measured, trained, AdamW([toy.model.weight], 0.01, 0.0), **options)


class Bars(Reporter):
    """Remembers the progress bars: description, total, done before, and what was advanced."""

    def __init__(self) -> None:
        self.shown: list[tuple[str, int, int]] = []
        self.done = 0

    def task(self, description, total, unit, done=0):
        self.shown.append((description, total, done))
        bars = self

        class Counting(Task):
            def advance(self, units: int, detail: str = "") -> None:
                bars.done += units

        return nullcontext(Counting())


def run(one: Trainer[Measured], reporter=SILENT, should_stop=lambda: False) -> list[Measured]:
    records: list[Measured] = []
    one.run(reporter, records.append, lambda: None, should_stop)
    return records


def test_every_batch_of_every_epoch_is_trained_on_and_counted():
    one, bars = trainer(), Bars()
    assert [record.value for record in run(one, bars)] == [0.5, 0.1, 0.3]
    assert one.state.tokens == 10 * EPOCHS * BATCHES == bars.done
    assert bars.shown == [("Pulling", 120, 0)]
    assert (one.state.epoch, one.state.batches_done) == (EPOCHS - 1, BATCHES)


def test_a_bar_may_end_at_each_measurement():
    one, bars = trainer(), Bars()
    one.objective.one_bar = False
    run(one, bars)
    assert bars.shown == [("Pulling", 120, 40 * epoch) for epoch in range(EPOCHS)]


def test_the_best_measurement_is_kept_only_if_asked_for():
    best, last = trainer(keep_best=lambda record: record.value), trainer()
    run(best)
    run(last)
    assert (best.kept.value, last.kept.value) == (0.1, 0.3)
    weights = [each.objective.model.weight.item() for each in (best, last)]
    assert weights == pytest.approx([0.08, 0.12], abs=0.01)


def test_gradients_are_clipped_to_a_norm():
    norms = []
    one = trainer(clip_norm=0.5)
    step = one.optimizer.step
    one.optimizer.step = lambda: (norms.append(one.objective.model.weight.grad.norm()), step())
    run(one)
    assert torch.stack(norms) == pytest.approx(0.5, abs=1e-4)


def test_being_stopped_saves_and_says_how_to_go_on(tmp_path, monkeypatch):
    one = trainer()
    original = Trainer._step

    def step(self, batch):
        if self.state.tokens == 50:
            os.kill(os.getpid(), signal.SIGINT)
        return original(self, batch)

    monkeypatch.setattr(Trainer, "_step", step)
    with Checkpoint.start(tmp_path, "toy", {}) as checkpoint:
        with pytest.raises(Interrupted, match="Stopped after 60 tokens; what") as caught:
            one.train(checkpoint, SILENT, lambda record: None, "Do go on.")
        assert caught.value.hint == "Do go on."
        monkeypatch.undo()
        again = trainer()
        again.load_state_dict(checkpoint.load())
    assert again.state.tokens == 60
    whole, bars = trainer(), Bars()
    run(again, bars)
    run(whole)
    assert again.history == whole.history
    # What was done before goes into no rate.
    assert (bars.shown, bars.done) == ([("Pulling", 120, 60)], 60)
    assert torch.equal(again.objective.model.weight, whole.objective.model.weight)


@pytest.fixture
def full_disk(monkeypatch):
    """Lets nothing more be saved."""
    save = torch.save
    monkeypatch.setattr(torch, "save", lambda state, file: save(state, "/dev/full"))


class Warnings(Reporter):
    """Remembers them."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def warn(self, text: str) -> None:
        self.told.append(text)


def test_a_checkpoint_that_does_not_fit_is_warned_of_once_and_training_goes_on(tmp_path, full_disk):
    one, whole, reporter = trainer(), trainer(), Warnings()
    run(whole)
    with Checkpoint.start(tmp_path, "toy", {}) as checkpoint:
        one.train(checkpoint, reporter, lambda record: None, "Do go on.")
    assert one.history == whole.history
    assert torch.equal(one.objective.model.weight, whole.objective.model.weight)
    (told,) = reporter.told
    assert "could not be written" in told
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("saved_before", [False, True])
def test_being_stopped_on_a_full_disk_says_what_is_lost(
    tmp_path, monkeypatch, saved_before, request
):
    one = trainer()
    with Checkpoint.start(tmp_path, "toy", {}) as checkpoint:
        if saved_before:
            checkpoint.save(one.state_dict())
        request.getfixturevalue("full_disk")
        original = Trainer._step

        def step(self, batch):
            os.kill(os.getpid(), signal.SIGTERM)
            return original(self, batch)

        monkeypatch.setattr(Trainer, "_step", step)
        with pytest.raises(Interrupted) as caught:
            one.train(checkpoint, SILENT, lambda record: None, "Do go on.")
        if saved_before:
            assert "since the last checkpoint is lost" in caught.value.message
            assert caught.value.hint == "Do go on."
            assert checkpoint.load()["state"]["tokens"] == 0
        else:
            assert "what was learnt is lost" in caught.value.message
            assert "Start again" in caught.value.hint


def test_a_terminal_that_closes_saves_what_was_learnt(tmp_path):
    class Closed(Reporter):
        def task(self, description, total, unit, done=0):
            os.kill(os.getpid(), signal.SIGHUP)
            raise OSError(errno.EIO, "Input/output error")

    one = trainer()
    with Checkpoint.start(tmp_path, "toy", {}) as checkpoint:
        with pytest.raises(Interrupted, match="is kept"):
            one.train(checkpoint, Closed(), lambda record: None, "Do go on.")
        assert checkpoint.is_resumable


def test_a_loss_that_is_no_number_is_told_with_its_place():
    one = trainer()
    torch.nn.init.constant_(one.objective.model.weight, float("nan"))
    with pytest.raises(SpamgptError, match="became nan after 0 tokens: training has diverged"):
        run(one)
