"""The trainer: steps, learning rate, checkpoints, interruption and progress of every training.

What fine-tuning and pre-training differ in, batches, loss, budget and what is measured when, is
their `Objective`.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict
from random import Random
from typing import Any, Generic

import torch
from torch import Tensor, nn

from spamgpt.errors import Interrupted, SpamgptError
from spamgpt.reporting import Reporter, Task
from spamgpt.training import distributed, sharding
from spamgpt.training.checkpoint import Checkpoint, CheckpointError, Saving
from spamgpt.training.interruption import stop_on_interrupt
from spamgpt.training.objective import Objective, Record, TrainingInterrupted, TrainingState
from spamgpt.training.optimizer import Optimizer

# How much a step counts in the loss that is shown beside the progress bar.
_SMOOTHING = 0.1


class Trainer(Generic[Record]):
    """A run of training, and all that is needed to stop and go on as if never stopped.

    With several processes (`training.distributed`) each takes its share of every batch, by tokens,
    and all learn what one would learn. The main one alone saves checkpoints.
    """

    def __init__(
        self,
        objective: Objective[Record],
        record: type[Record],
        trained: Mapping[str, nn.Parameter],
        optimizer: Optimizer,
        clip_norm: float | None = None,
        keep_best: Callable[[Record], float] | None = None,
        most_at_once: int | None = None,
        dropout_seed: int | None = None,
        after_step: Callable[[TrainingState[Record]], None] | None = None,
        replicated: nn.Module | None = None,
    ) -> None:
        """`trained` are the parameters that training changes, by their names in the model.

        `record` is the class of the measurements. Gradients are clipped to the norm `clip_norm`.
        With `keep_best`, the model ends as it was when this was lowest. Of a batch, `most_at_once`
        are computed at a time, and their gradients added up to the one of the whole batch. With
        `dropout_seed`, the random numbers of each step depend on it and on the step alone.
        `after_step` may measure something and add it to the state. `replicated` is the model as the
        objective calls it, if that is not its own (`distributed.replicated`).
        """
        self.objective = objective
        self.optimizer = optimizer
        self.state = TrainingState[Record]()
        self.best: dict[str, Tensor] | None = None
        self._record = record
        self._trained = dict(trained)
        self._parameters = list(trained.values())
        self._device = self._parameters[0].device
        self._clip_norm = clip_norm
        self._keep_best = keep_best
        self._most_at_once = most_at_once
        self._dropout_seed = dropout_seed
        self._after_step = after_step
        self._replicated = replicated
        self._epoch: tuple[int, Sequence[Sequence[int]]] | None = None
        self._shown_loss: float | None = None

    @property
    def history(self) -> list[Record]:
        """The measurements so far."""
        return self.state.history

    @property
    def kept(self) -> Record:
        """The measurement of the weights that the finished run ends with."""
        if self._keep_best:
            return min(self.history, key=self._keep_best)
        return self.history[-1]

    def trained_tensors(self) -> dict[str, Tensor]:
        """The tensors that training changes, by their names in the model.

        Where they are sharded, only the main process gets them; all have to call it.
        """
        return {n: sharding.whole(parameter.detach()) for n, parameter in self._trained.items()}

    def train(
        self,
        checkpoint: Checkpoint,
        reporter: Reporter,
        after_record: Callable[[Record], None],
        go_on: str,
    ) -> None:
        """Trains to the end, saving on the way; the first Ctrl-C saves and ends it.

        A checkpoint that cannot be written is warned of, and training goes on. `after_record` is
        given every measurement, those before an interruption first. Raises Interrupted on Ctrl-C,
        with the hint `go_on`.
        """
        for record in self.history:
            after_record(record)
        warned = False

        def save() -> None:
            nonlocal warned
            state = self.state_dict()
            try:
                if distributed.is_main():
                    checkpoint.save(state)
            except CheckpointError as error:
                if not warned:
                    reporter.warn(f"{error.message} Is the disk full? Training goes on.")
                warned = True

        with stop_on_interrupt(reporter.warn) as should_stop:
            try:
                self.run(reporter, after_record, save, should_stop)
            except (TrainingInterrupted, OSError) as error:
                # Where a terminal was closed, also what would be shown on it fails; no step does.
                if isinstance(error, OSError) and not should_stop():
                    raise
                state = self.state_dict()
                raise distributed.from_main(
                    lambda: self._interrupted(checkpoint, state, go_on)
                ) from None

    def _interrupted(
        self, checkpoint: Checkpoint, state: dict[str, Any], go_on: str
    ) -> Interrupted:
        """Saves what was learnt; returns the error that tells whether that was possible."""
        where = self.objective.where(self.state)
        try:
            checkpoint.save(state)
        except CheckpointError as error:
            if checkpoint.is_resumable:
                return Interrupted(
                    f"Stopped {where}; what was learnt since the last checkpoint is lost. "
                    f"{error.message}",
                    go_on,
                )
            return Interrupted(
                f"Stopped {where}; what was learnt is lost. {error.message}",
                f"{error.hint} Start again without `resume`.",
            )
        return Interrupted(f"Stopped {where}; what was learnt is kept.", go_on)

    def run(
        self,
        reporter: Reporter,
        after_record: Callable[[Record], None],
        save: Callable[[], None],
        should_stop: Callable[[], bool],
    ) -> None:
        """Trains to the end; raises TrainingInterrupted soon after `should_stop` turns true.

        After an interruption, or in another process after `load_state_dict`, `run` goes on. `save`
        is called now and then (`Saving`). Raises SpamgptError if training diverges.
        """
        saving = Saving(save, distributed.decided_by_main)

        def stop() -> bool:
            return distributed.sums(should_stop())[0] > 0

        def measure() -> None:
            record = self.objective.measure(self.state, reporter, stop)
            self._keep(record)
            after_record(record)
            saving.after_record(self.objective.is_finished(self.state))

        while True:
            if self.objective.is_due(self.state):
                measure()
            if self.objective.is_finished(self.state):
                break
            bar = self.objective.bar(self.state)
            with reporter.task(bar.description, bar.total, bar.unit, bar.done) as task:
                self._train(task, measure, saving, stop)
        if self.best is not None:
            self._assign(self.best)
        self.objective.model.eval()

    def state_dict(self) -> dict[str, Any]:
        """Everything that `load_state_dict` needs, as tensors and plain values.

        Where the model is sharded, the main process has it; all have to call it.
        """
        return {
            "trained": self.trained_tensors(),
            "best": sharding.whole(self.best),
            "optimizer": sharding.whole(self.optimizer.state_dict()),
            "state": asdict(self.state),
            "finished": self.objective.is_finished(self.state),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from what `state_dict` gave in an equal run."""
        self._assign(state["trained"])
        best = state["best"]
        if best is not None:
            best = {n: sharding.like(self._trained[n], values) for n, values in best.items()}
        self.best = best
        self.optimizer.load_state_dict(state["optimizer"])
        history = [self._record(**record) for record in state["state"]["history"]]
        self.state = TrainingState(**state["state"] | {"history": history})

    def _assign(self, tensors: Mapping[str, Tensor]) -> None:
        for name, values in tensors.items():
            sharding.assign(self._trained[name], values)

    def _train(
        self,
        task: Task,
        measure: Callable[[], None],
        saving: Saving,
        should_stop: Callable[[], bool],
    ) -> None:
        """Trains to the end of the budget, or to where the progress bar ends."""
        objective, state = self.objective, self.state
        objective.model.train()
        shown = objective.bar(state)
        while not objective.is_finished(state):
            self._step(self._next_batch())
            if self._after_step:
                self._after_step(state)
            detail = f"loss {self._shown_loss:.3f}"
            if shown.unit == "seconds":
                detail += f", {state.tokens / state.seconds:,.0f} tokens/s"
            before, shown = shown, objective.bar(state)
            task.advance(shown.done - before.done, detail)
            if objective.is_due(state):
                if not objective.one_bar:
                    return
                measure()
            if objective.is_finished(state):
                return
            saving.after_step()
            if should_stop():
                raise TrainingInterrupted

    def _next_batch(self) -> Sequence[int]:
        """The next of this epoch or, where it has ended, the first of the one after it."""
        state = self.state
        while True:
            if self._epoch is None or self._epoch[0] != state.epoch:
                self._epoch = (state.epoch, self.objective.batches(state.epoch))
            batches = self._epoch[1]
            if state.batches_done < len(batches):
                return batches[state.batches_done]
            state.epoch, state.batches_done = state.epoch + 1, 0

    def _step(self, batch: Sequence[int]) -> None:
        """Changes the weights by a batch."""
        started = time.monotonic()
        state = self.state
        self.optimizer.learning_rate = self.objective.learning_rate(state)
        self.optimizer.zero_grad()
        with self._step_randomness():
            loss = self._backward(batch)
        if self._clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(self._parameters, self._clip_norm)
        self.optimizer.step()
        value = loss.item()
        if not math.isfinite(value):
            raise diverged(value, self.objective.where(state))
        shown = value if self._shown_loss is None else self._shown_loss
        self._shown_loss = shown + _SMOOTHING * (value - shown)
        state.losses.append(value)
        state.tokens += self.objective.tokens(batch)
        state.batches_done += 1
        # That of the main process, so that all of them end at the same step.
        elapsed = time.monotonic() - started
        state.seconds += distributed.sums(elapsed * distributed.is_main())[0]

    def _backward(self, batch: Sequence[int]) -> Tensor:
        """Gives every parameter the gradient of the mean loss over a batch; returns that loss."""
        most = self._most_at_once or len(batch)
        if len(batch) <= most and distributed.size() == 1:
            loss, _ = self.objective.loss(batch)
            loss.backward()
            return loss.detach()
        losses, weights = [], 0.0
        for start in range(0, len(batch), most):
            part = batch[start : start + most]
            mine = distributed.share_of(part, [self.objective.tokens([each]) for each in part])
            with self._gradients_stay(until_last=start + most < len(batch)):
                # All processes run the model as often; who has no share learns nothing from it.
                loss, weight = self.objective.loss(mine or part[:1])
                weight = weight if mine else 0.0
                # Summed, not averaged: each may be the mean of another number.
                (loss * weight).backward()
            losses.append(loss.detach() * weight)
            weights += weight
        total, weights = distributed.sums(sum(each.item() for each in losses), weights)
        for parameter in self._parameters:
            assert parameter.grad is not None
            # Of several processes this is the mean of their sums.
            parameter.grad.div_(weights / distributed.size())
        return torch.tensor(total / weights, dtype=torch.float64)

    def _gradients_stay(self, until_last: bool) -> AbstractContextManager[None]:
        if not until_last or self._replicated is None:
            return nullcontext()
        return distributed.gradients_stay(self._replicated)

    @contextmanager
    def _step_randomness(self) -> Iterator[None]:
        """Seeds torch for the step under way, and leaves its random state as it was."""
        if self._dropout_seed is None:
            yield
            return
        place = f"{self._dropout_seed} {self.state.epoch} {self.state.batches_done}"
        with torch.random.fork_rng([self._device] if self._device.type == "cuda" else []):
            torch.manual_seed(Random(place).getrandbits(63))
            yield

    def _keep(self, record: Record) -> None:
        """Puts a measurement away, and the weights if they are the best so far."""
        score = self._keep_best
        if score and all(score(record) < score(earlier) for earlier in self.history):
            self.best = {name: each.detach().clone() for name, each in self._trained.items()}
        self.history.append(record)
        self.state.measured_tokens = self.state.tokens
        self.state.losses.clear()


def diverged(loss: float, where: str) -> SpamgptError:
    """The error to raise for a loss that is not finite."""
    return SpamgptError(
        f"The loss became {loss} {where}: training has diverged.", "Lower `learning_rate`."
    )
