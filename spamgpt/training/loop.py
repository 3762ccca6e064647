"""The training loop: AdamW on the cross-entropy of each message's one vector of logits."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from spamgpt.classifier.inference import logits_of, predict_logits
from spamgpt.data.batches import TokenizedMessages, shuffled_batches
from spamgpt.errors import SpamgptError
from spamgpt.gpt2.classifier import GPT2Classifier
from spamgpt.reporting import Reporter
from spamgpt.training.optimizer import AdamW
from spamgpt.training.schedule import Schedule, learning_rate_factor
from spamgpt.training.trunk import Trunk


@dataclass(frozen=True)
class LabelledMessages:
    """Tokenized messages and the index of each one's label, (messages,) int64.

    With `trunk`, what the frozen blocks give for them is not computed again.
    """

    messages: TokenizedMessages
    labels: Tensor
    trunk: Trunk | None = None

    def __len__(self) -> int:
        return len(self.messages)


@dataclass(frozen=True)
class Recipe:
    """How to train; with `keep_best` the epoch with the lowest validation loss is kept.

    `learning_rate` is the highest of the `schedule` (`learning_rate_factor`).
    """

    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    seed: int
    keep_best: bool
    schedule: Schedule = "constant"


@dataclass(frozen=True)
class EpochRecord:
    """Loss (nats a message) and accuracy over the whole splits after an epoch."""

    epoch: int
    training_loss: float
    training_accuracy: float
    validation_loss: float
    validation_accuracy: float


class TrainingInterrupted(Exception):
    """Training was asked to stop, and its state is where it can go on."""


@dataclass
class Training:
    """A run of training: the model, and all that is needed to stop and go on as if never stopped.

    The batches of an epoch depend on the seed and the epoch only and nothing else is random, so the
    state is the trained tensors, the optimizer's, and how far the run has come.
    """

    model: GPT2Classifier
    recipe: Recipe
    device: torch.device
    history: list[EpochRecord] = field(default_factory=list)
    batches_done: int = 0  # in the epoch under way
    best: dict[str, Tensor] | None = None

    def __post_init__(self) -> None:
        self.model.to(self.device)
        self.optimizer = AdamW(
            list(self._trained().values()), self.recipe.learning_rate, self.recipe.weight_decay
        )

    def run(
        self,
        training: LabelledMessages,
        validation: LabelledMessages,
        reporter: Reporter,
        after_epoch: Callable[[EpochRecord], None],
        should_stop: Callable[[], bool],
    ) -> None:
        """Trains to the end; raises TrainingInterrupted soon after `should_stop` turns true.

        After an interruption, or in another process after `load_state_dict`, `run` goes on.
        """
        while len(self.history) < self.recipe.epochs:
            self._train_epoch(training, reporter, should_stop)
            record = self._measure(training, validation, reporter, should_stop)
            if self.recipe.keep_best and all(
                record.validation_loss < earlier.validation_loss for earlier in self.history
            ):
                self.best = {name: t.detach().clone() for name, t in self._trained().items()}
            self.history.append(record)
            self.batches_done = 0
            after_epoch(record)
        if self.recipe.keep_best and self.best is not None:
            self.model.load_state_dict(self.best, strict=False)

    @property
    def kept_epoch(self) -> int:
        """The epoch whose weights the finished run ends with."""
        if self.recipe.keep_best:
            return min(self.history, key=lambda record: record.validation_loss).epoch
        return len(self.history)

    def trained_tensors(self) -> dict[str, Tensor]:
        """The tensors that training changes, by their names in the classifier."""
        return {name: parameter.detach() for name, parameter in self._trained().items()}

    def state_dict(self) -> dict[str, Any]:
        """Everything that `load_state_dict` needs, as tensors and plain values."""
        return {
            "trained": self.trained_tensors(),
            "optimizer": self.optimizer.state_dict(),
            "history": [asdict(record) for record in self.history],
            "batches_done": self.batches_done,
            "best": self.best,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["trained"], strict=False)
        self.optimizer.load_state_dict(state["optimizer"])
        self.history = [EpochRecord(**record) for record in state["history"]]
        self.batches_done = state["batches_done"]
        self.best = state["best"]

    def _trained(self) -> dict[str, torch.nn.Parameter]:
        return {
            name: parameter
            for name, parameter in self.model.named_parameters()
            if parameter.requires_grad
        }

    def _train_epoch(
        self, training: LabelledMessages, reporter: Reporter, should_stop: Callable[[], bool]
    ) -> None:
        recipe, epoch = self.recipe, len(self.history) + 1
        batches = shuffled_batches(len(training), recipe.batch_size, recipe.seed, epoch)
        remaining = batches[self.batches_done :]
        self.model.train()
        smoothed_loss = None
        with reporter.task(
            f"Epoch {epoch}/{recipe.epochs}", sum(map(len, remaining)), "messages"
        ) as task:
            for batch in remaining:
                done = (epoch - 1) * len(batches) + self.batches_done
                # Counted to the middle of the step, so that neither the first nor the last is 0.
                self._set_learning_rate((done + 0.5) / (recipe.epochs * len(batches)))
                loss = self._step(training, batch)
                self._check(loss)
                self.batches_done += 1
                smoothed_loss = loss if smoothed_loss is None else 0.9 * smoothed_loss + 0.1 * loss
                task.advance(len(batch), f"loss {smoothed_loss:.3f}")
                if should_stop():
                    raise TrainingInterrupted

    def _set_learning_rate(self, spent: float) -> None:
        factor = learning_rate_factor(self.recipe.schedule, spent)
        self.optimizer.learning_rate = self.recipe.learning_rate * factor

    def _check(self, loss: float) -> None:
        if not math.isfinite(loss):
            raise SpamgptError(
                f"The loss became {loss} in epoch {len(self.history) + 1}: training has diverged.",
                "Lower the --learning-rate.",
            )

    def _step(self, training: LabelledMessages, batch: list[int]) -> float:
        logits = logits_of(self.model, training.messages, batch, self.device, training.trunk)
        loss = F.cross_entropy(logits, training.labels[batch].to(self.device))
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def _measure(
        self,
        training: LabelledMessages,
        validation: LabelledMessages,
        reporter: Reporter,
        should_stop: Callable[[], bool],
    ) -> EpochRecord:
        epoch = len(self.history) + 1
        self.model.eval()
        with reporter.task(
            f"Scoring epoch {epoch}", len(training) + len(validation), "messages"
        ) as task:

            def after_batch(messages: int) -> None:
                task.advance(messages)
                if should_stop():
                    raise TrainingInterrupted

            measured = []
            for split in (training, validation):
                logits = predict_logits(
                    self.model, split.messages, self.device, after_batch, split.trunk
                )
                measured.append(F.cross_entropy(logits.double(), split.labels).item())
                self._check(measured[-1])
                measured.append((logits.argmax(dim=1) == split.labels).double().mean().item())
        return EpochRecord(epoch, *measured)
