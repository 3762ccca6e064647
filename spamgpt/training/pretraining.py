"""Pre-training: next-token prediction on packed documents, under a budget of tokens or minutes."""

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spamgpt.data.corpus import Corpus, epoch_batches
from spamgpt.gpt2.config import GPT2Config
from spamgpt.gpt2.language_model import next_token_loss
from spamgpt.gpt2.model import GPT2
from spamgpt.gpt2.tokenizer import Tokenizer
from spamgpt.gpt2.weights import random_weights
from spamgpt.reporting import Reporter
from spamgpt.training import distributed
from spamgpt.training.hyperparameters import PretrainingOptimizer
from spamgpt.training.objective import Bar, TrainingState
from spamgpt.training.optimizer import pretraining_optimizer
from spamgpt.training.schedule import COSINE_WARM_UP, PretrainingSchedule, cosine, trapezoid
from spamgpt.training.trainer import Trainer

# The held-out loss is measured after each of so many equal parts of the budget.
MEASUREMENTS = 20
# The warm-up of the trapezoid is no share of the budget, which may grow, unless that is small.
WARM_UP_TOKENS, LARGEST_WARM_UP = 400_000, 0.1
_CLIP_NORM = 1.0


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
class PretrainingHyperparameters:
    """How to pre-train. `learning_rate` is the highest of the `schedule`."""

    budget: Budget
    batch_tokens: int
    learning_rate: float
    weight_decay: float
    seed: int
    optimizer: PretrainingOptimizer = "muon"
    schedule: PretrainingSchedule = "cosine"


def new_model(shape: GPT2Config, seed: int, folder: Path) -> tuple[GPT2, Tokenizer]:
    """A random model, and the vocabulary whose files are in a folder (`learn_vocabulary`).

    `shape` says how many tokens the vocabulary may have; the model has as many as were found.
    """
    tokenizer = Tokenizer.from_folder(folder)
    config = replace(shape, vocab_size=tokenizer.vocab_size)
    model = GPT2(config)
    model.load_state_dict(random_weights(config, seed))
    return model, tokenizer


def history_rows(reporter: Reporter) -> Callable[[PretrainingRecord], None]:
    """A table of the measurements, to be called with each."""
    row = reporter.table("        tokens", "epochs", "training loss", "held-out loss", "perplexity")

    def show(record: PretrainingRecord) -> None:
        row(
            f"{record.tokens:>14,}",
            f"{record.epochs:.2f}",
            f"{record.training_loss:.4f}",
            f"{record.held_out_loss:.4f}",
            f"{math.exp(record.held_out_loss):.2f}",
        )

    return show


def pretraining(
    model: GPT2,
    hyperparameters: PretrainingHyperparameters,
    training: Corpus,
    held_out: Corpus,
    weights: Sequence[float],
    device: torch.device,
    bfloat16: bool,
) -> Trainer[PretrainingRecord]:
    """A run that trains all of a model; `weights` says how often an epoch goes through a source."""
    model.to(device)
    optimizer = pretraining_optimizer(
        model,
        hyperparameters.optimizer,
        hyperparameters.learning_rate,
        hyperparameters.weight_decay,
    )
    replicated = distributed.replicated(model)
    objective = Pretraining(
        model, hyperparameters, training, held_out, weights, device, bfloat16, replicated
    )
    trained = dict(model.named_parameters())
    return Trainer(
        objective, PretrainingRecord, trained, optimizer, _CLIP_NORM, replicated=replicated
    )


class Pretraining:
    """The objective of pre-training."""

    one_bar = True

    def __init__(
        self,
        model: GPT2,
        hyperparameters: PretrainingHyperparameters,
        training: Corpus,
        held_out: Corpus,
        weights: Sequence[float],
        device: torch.device,
        bfloat16: bool,
        replicated: torch.nn.Module | None = None,
    ) -> None:
        self.model: torch.nn.Module = model
        self._gpt2 = model
        self._replicated = replicated
        self._chosen = hyperparameters
        self._budget = hyperparameters.budget
        self._training = training
        self._lengths = training.lengths
        self._held_out = held_out
        self._weights = weights
        self._tokens_per_epoch = float((self._lengths * np.asarray(weights)[training.source]).sum())
        self._device = device
        self._bfloat16 = bfloat16

    def batches(self, epoch: int) -> list[list[int]]:
        """Indices of pieces of the corpus, as often as their sources weigh."""
        chosen = self._chosen
        return epoch_batches(self._training, self._weights, chosen.batch_tokens, chosen.seed, epoch)

    def tokens(self, batch: Sequence[int]) -> int:
        """The tokens of a batch."""
        return int(self._lengths[batch].sum())

    def loss(self, batch: Sequence[int]) -> tuple[Tensor, int]:
        """The mean cross-entropy of the predicted tokens, and how many they are."""
        return self._loss_of(self._training, batch)

    def learning_rate(self, state: TrainingState[PretrainingRecord]) -> float:
        """By the schedule, from what was spent before the step."""
        spent, budget = self._spent(state), self._budget
        if self._chosen.schedule == "cosine":
            return self._chosen.learning_rate * cosine(spent)
        if budget.tokens is None:
            warmed_up = spent / COSINE_WARM_UP
        else:
            warmed_up = state.tokens / min(WARM_UP_TOKENS, LARGEST_WARM_UP * budget.tokens)
        return self._chosen.learning_rate * trapezoid(warmed_up, spent)

    def is_due(self, state: TrainingState[PretrainingRecord]) -> bool:
        """After every equal part of the budget, which may have been another at the last one."""
        if state.tokens == state.measured_tokens:
            return False  # one step can take several parts of a budget in minutes
        if self._budget.tokens is None:
            passed = len(state.history)
        else:
            passed = int(self._budget.spent(state.measured_tokens, 0) * MEASUREMENTS)
        return self._spent(state) * MEASUREMENTS >= passed + 1

    def is_finished(self, state: TrainingState[PretrainingRecord]) -> bool:
        """Whether the budget is spent."""
        return self._spent(state) >= 1

    @torch.inference_mode()
    def measure(
        self,
        state: TrainingState[PretrainingRecord],
        reporter: Reporter,
        should_stop: Callable[[], bool],
    ) -> PretrainingRecord:
        """The mean loss over all predicted tokens of the held-out part; it is not interrupted."""
        once = [1.0] * (int(self._held_out.source.max()) + 1)
        total, count = 0.0, 0.0
        batches = epoch_batches(self._held_out, once, self._chosen.batch_tokens, 0, 0)
        for batch in batches[distributed.rank() :: distributed.size()]:
            loss, predicted = self._loss_of(self._held_out, batch)
            total += loss.item() * predicted
            count += predicted
        total, count = distributed.sums(total, count)
        mean = sum(state.losses) / len(state.losses)
        epochs = state.tokens / self._tokens_per_epoch
        return PretrainingRecord(state.tokens, epochs, mean, total / count)

    def bar(self, state: TrainingState[PretrainingRecord]) -> Bar:
        """The whole budget."""
        if self._budget.tokens is not None:
            return Bar("Pre-training", self._budget.tokens, state.tokens, "tokens")
        whole = int(60 * (self._budget.minutes or 0))
        return Bar("Pre-training", whole, int(state.seconds), "seconds")

    def where(self, state: TrainingState[PretrainingRecord]) -> str:
        """The tokens that are done."""
        return f"after {state.tokens:,} tokens"

    def _spent(self, state: TrainingState[PretrainingRecord]) -> float:
        return self._budget.spent(state.tokens, state.seconds)

    def _loss_of(self, corpus: Corpus, batch: Sequence[int]) -> tuple[Tensor, int]:
        packed = corpus.pack(batch).to(self._device)
        # To measure, processes need not run the model as often as each other.
        replicated = self._replicated if torch.is_grad_enabled() else None
        with self._precision():
            loss = next_token_loss(self._gpt2, packed, replicated)
        return loss, len(packed.token_ids) - len(packed)

    def _precision(self) -> AbstractContextManager[Any]:
        if not self._bfloat16:
            return nullcontext()
        return torch.autocast(self._device.type, torch.bfloat16)
