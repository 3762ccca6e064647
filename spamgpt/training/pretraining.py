"""The pre-training loop: next-token prediction on packed documents, under a budget."""

import math
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch

from spamgpt.data.corpus import Corpus, epoch_batches
from spamgpt.errors import SpamgptError
from spamgpt.gpt2.language_model import next_token_loss
from spamgpt.gpt2.model import GPT2
from spamgpt.reporting import Reporter
from spamgpt.training.loop import TrainingInterrupted

# Of the budget: the share with a rising learning rate, and what the rate falls to at the end.
WARM_UP, FINAL_RATE = 0.02, 0.1
# The held-out loss is measured after each of so many equal parts of the budget.
MEASUREMENTS = 20
_CLIP_NORM = 1.0
_BETAS = (0.9, 0.95)


@dataclass(frozen=True)
class Budget:
    """How much to train: tokens, or minutes of training (then a run does not repeat exactly)."""

    tokens: int | None = None
    minutes: float | None = None

    def spent(self, tokens: int, seconds: float) -> float:
        """The share of the budget that is used, from 0 to 1."""
        if self.tokens is not None:
            return min(1.0, tokens / self.tokens)
        assert self.minutes is not None
        return min(1.0, seconds / (60 * self.minutes))


@dataclass(frozen=True)
class PretrainingRecord:
    """Losses in nats a token; `tokens` and `epochs` count what was trained on until then."""

    tokens: int
    epochs: float
    training_loss: float
    held_out_loss: float


@dataclass(frozen=True)
class PretrainingRecipe:
    budget: Budget
    tokens_per_batch: int
    learning_rate: float
    weight_decay: float
    seed: int


def learning_rate_factor(spent: float) -> float:
    """Linear warm-up, then a cosine down to FINAL_RATE, against the share of the budget spent."""
    if spent < WARM_UP:
        return spent / WARM_UP
    cosine = 0.5 * (1 + math.cos(math.pi * (spent - WARM_UP) / (1 - WARM_UP)))
    return FINAL_RATE + (1 - FINAL_RATE) * cosine


@dataclass
class Pretraining:
    """A run of pre-training and all that is needed to stop it and go on."""

    model: GPT2
    recipe: PretrainingRecipe
    device: torch.device
    bfloat16: bool
    history: list[PretrainingRecord] = field(default_factory=list)
    tokens: int = 0
    seconds: float = 0.0
    epoch: int = 0
    batches_done: int = 0  # in the epoch under way
    recent_losses: list[float] = field(default_factory=list)  # since the last record

    def __post_init__(self) -> None:
        self.model.to(self.device).train()
        parameters = list(self.model.parameters())
        matrices = [parameter for parameter in parameters if parameter.dim() > 1]
        others = [parameter for parameter in parameters if parameter.dim() < 2]
        self.optimizer = torch.optim.AdamW(
            [
                {"params": matrices, "weight_decay": self.recipe.weight_decay},
                {"params": others, "weight_decay": 0.0},
            ],
            lr=self.recipe.learning_rate,
            betas=_BETAS,
            fused=True,
        )

    def run(
        self,
        training: Corpus,
        held_out: Corpus,
        weights: Sequence[float],
        reporter: Reporter,
        after_measurement: Callable[[PretrainingRecord], None],
        after_step: Callable[[], None],
        should_stop: Callable[[], bool],
    ) -> None:
        """Trains until the budget is spent; raises TrainingInterrupted once asked to stop.

        `after_step` may save a checkpoint: the state is always where the run can go on.
        """
        per_epoch = float((training.lengths * np.asarray(weights)[training.source]).sum())
        budget = self.recipe.budget
        total = budget.tokens if budget.tokens is not None else int(60 * (budget.minutes or 0))
        unit = "tokens" if budget.tokens is not None else "seconds"
        with reporter.task("Pre-training", total, unit) as task:
            task.advance(self.tokens if budget.tokens is not None else int(self.seconds))
            while self._spent() < 1:
                batches = epoch_batches(
                    training, weights, self.recipe.tokens_per_batch, self.recipe.seed, self.epoch
                )
                for batch in batches[self.batches_done :]:
                    before = self.tokens if unit == "tokens" else int(self.seconds)
                    loss = self._step(training, batch)
                    now = self.tokens if unit == "tokens" else int(self.seconds)
                    rate = self.tokens / self.seconds
                    task.advance(now - before, f"loss {loss:.3f}, {rate:,.0f} tokens/s")
                    if self._spent() * MEASUREMENTS >= len(self.history) + 1:
                        record = self._measure(held_out, self.tokens / per_epoch)
                        self.history.append(record)
                        self.recent_losses.clear()
                        after_measurement(record)
                    if self._spent() >= 1:
                        return
                    after_step()
                    if should_stop():
                        raise TrainingInterrupted
                self.epoch += 1
                self.batches_done = 0

    def state_dict(self) -> dict[str, Any]:
        """Everything that `load_state_dict` needs, as tensors and plain values."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "history": [asdict(record) for record in self.history],
            "progress": [self.tokens, self.seconds, self.epoch, self.batches_done],
            "recent_losses": self.recent_losses,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.history = [PretrainingRecord(**record) for record in state["history"]]
        self.tokens, self.seconds, self.epoch, self.batches_done = state["progress"]
        self.recent_losses = list(state["recent_losses"])

    def _spent(self) -> float:
        return self.recipe.budget.spent(self.tokens, self.seconds)

    def _step(self, training: Corpus, batch: list[int]) -> float:
        started = time.monotonic()
        rate = self.recipe.learning_rate * learning_rate_factor(self._spent())
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        packed = training.pack(batch).to(self.device)
        with self._precision():
            loss = next_token_loss(self.model, packed)
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), _CLIP_NORM)
        self.optimizer.step()
        value = loss.item()
        if not math.isfinite(value):
            raise SpamgptError(
                f"The loss became {value} after {self.tokens:,} tokens: training has diverged.",
                "Lower the --learning-rate.",
            )
        self.recent_losses.append(value)
        self.tokens += len(packed.token_ids)
        self.batches_done += 1
        self.seconds += time.monotonic() - started
        return value

    @torch.inference_mode()
    def _measure(self, held_out: Corpus, epochs: float) -> PretrainingRecord:
        """The mean loss over all predicted tokens of the held-out part."""
        once = [1.0] * (int(held_out.source.max()) + 1)
        total, count = 0.0, 0
        for batch in epoch_batches(held_out, once, self.recipe.tokens_per_batch, 0, 0):
            packed = held_out.pack(batch).to(self.device)
            with self._precision():
                loss = next_token_loss(self.model, packed).item()
            predicted = len(packed.token_ids) - len(packed)
            total += loss * predicted
            count += predicted
        mean = sum(self.recent_losses) / len(self.recent_losses)
        return PretrainingRecord(self.tokens, epochs, mean, total / count)

    def _precision(self) -> AbstractContextManager[Any]:
        if not self.bfloat16:
            return nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)
