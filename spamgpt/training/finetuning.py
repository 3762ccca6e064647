"""Fine-tuning: the cross-entropy of each message's logits, measured after every epoch."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from math import isfinite, nan
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from spamgpt.classifier.inference import logits_of
from spamgpt.data.batches import TokenizedMessages, shuffled_batches, tokenize
from spamgpt.data.rows import LABEL, TEXT
from spamgpt.device import TrainingPrecision, resolve_precision
from spamgpt.gpt2.classifier import GPT2Classifier
from spamgpt.gpt2.model import GPT2
from spamgpt.gpt2.tokenizer import Tokenizer
from spamgpt.reporting import Reporter
from spamgpt.training import distributed
from spamgpt.training.cache import ArrayCache
from spamgpt.training.hyperparameters import Hyperparameters
from spamgpt.training.measuring import logits_together
from spamgpt.training.objective import Bar, TrainingInterrupted, TrainingState
from spamgpt.training.optimizer import AdamW
from spamgpt.training.policy import TrainingPolicy
from spamgpt.training.published import MEASURED_BATCHES, PeriodicRecord, published_order
from spamgpt.training.schedule import learning_rate_factor
from spamgpt.training.sharding import shard as shard_parameters
from spamgpt.training.trainer import Trainer, diverged
from spamgpt.training.trunk import Trunk, TrunkSpecification, run_trunk

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class LabelledMessages:
    """Tokenized messages and the index of each one's label, (messages,) int64.

    With `trunk`, the output of the frozen blocks is not computed again.
    """

    messages: TokenizedMessages
    labels: Tensor
    trunk: Trunk | None = None

    def __len__(self) -> int:
        return len(self.messages)


@dataclass(frozen=True)
class EpochRecord:
    """Loss (nats a message) and accuracy over the whole splits after an epoch.

    Every message counts the same, and towards its own label alone, however it was trained.
    Without validation, the training loss is that of the epoch's steps, and the rest is NaN.
    """

    epoch: int
    training_loss: float
    training_accuracy: float
    validation_loss: float
    validation_accuracy: float


def finetuning(
    model: GPT2Classifier,
    policy: TrainingPolicy,
    hyperparameters: Hyperparameters,
    training: LabelledMessages,
    validation: LabelledMessages | None,
    device: torch.device,
    precision: TrainingPrecision = "fp32",
    shard: bool = False,
    checkpoint_activations: bool = False,
) -> Trainer[EpochRecord]:
    """A run that fine-tunes what the policy says, which must have been applied to the model.

    Without `validation` nothing is measured but the loss of the steps. `precision` is that of the
    matrix products of what is trained; its weights are float32. `auto` is bfloat16 where the device
    is made for it and everything is trained: less is soon computed. With `shard` each process holds
    a part of the model, all of which has to be trained. With `checkpoint_activations` blocks are
    computed a second time instead of keeping what happened in them.
    """
    everything = policy.name == "all" and policy.lora is None
    if hyperparameters.dropout:
        model.gpt2.set_dropout(hyperparameters.dropout, policy.frozen_blocks, embeddings=everything)
    model.gpt2.checkpoint_activations = checkpoint_activations
    if shard:
        shard_parameters(model, device)
    model.to(device)
    replicated = model if shard else distributed.replicated(model)
    trained = policy.trained(model)
    if precision == "auto" and not everything:
        precision = "fp32"
    bfloat16 = resolve_precision(precision, device) == torch.bfloat16
    objective = Finetuning(
        model, hyperparameters, training, validation, device, bfloat16, replicated
    )
    return Trainer(
        objective,
        EpochRecord,
        trained,
        AdamW(list(trained.values()), hyperparameters.learning_rate, hyperparameters.weight_decay),
        clip_norm=hyperparameters.clip or None,
        keep_best=(lambda record: record.validation_loss) if hyperparameters.keep_best else None,
        most_at_once=hyperparameters.batch_size,
        dropout_seed=hyperparameters.seed if hyperparameters.dropout else None,
        after_step=objective.measure_as_published if hyperparameters.published_order else None,
        replicated=replicated,
    )


class Finetuning:
    """The objective of fine-tuning. The batches of an epoch depend on seed and epoch only."""

    one_bar = False

    def __init__(
        self,
        model: GPT2Classifier,
        hyperparameters: Hyperparameters,
        training: LabelledMessages,
        validation: LabelledMessages | None,
        device: torch.device,
        bfloat16: bool = False,
        replicated: torch.nn.Module | None = None,
    ) -> None:
        self.model: torch.nn.Module = model
        self._replicated = replicated or model
        self._products = torch.autocast(device.type, torch.bfloat16, enabled=bfloat16)
        self._classifier = model
        self._chosen = hyperparameters
        self._training = training
        self._validation = validation
        self._device = device
        # What a step is made of: the trainer computes it `batch_size` messages at a time.
        self._step_size = hyperparameters.batch_size * hyperparameters.accumulate
        self._batches = -(-len(training) // self._step_size)  # of an epoch
        self._published = None
        if hyperparameters.published_order and validation is not None:
            self._published = published_order(
                len(training),
                len(validation),
                self._step_size,
                hyperparameters.epochs,
                hyperparameters.seed,
            )
            self._batches = len(self._published.epochs[0])
        self._class_weights = None
        if hyperparameters.class_weights == "balanced":
            self._class_weights = balanced_class_weights(training.labels, model.head.out_features)

    def batches(self, epoch: int) -> Sequence[list[int]]:
        """Indices of messages of the training split, shuffled: those of each step."""
        if self._published:
            return self._published.epochs[epoch]
        return shuffled_batches(len(self._training), self._step_size, self._chosen.seed, epoch + 1)

    def tokens(self, batch: Sequence[int]) -> int:
        """The tokens of a batch."""
        return sum(len(self._training.messages.token_ids[index]) for index in batch)

    def loss(self, batch: Sequence[int]) -> tuple[Tensor, float]:
        """The mean cross-entropy of some messages, and how many they are or weigh together."""
        split, weights = self._training, self._class_weights
        # In the order of their lengths, messages are padded to others of similar length alone.
        batch = sorted(batch, key=lambda index: len(split.messages.token_ids[index]))
        labels = split.labels[batch]
        with self._products:
            logits = logits_of(self._replicated, split.messages, batch, self._device, split.trunk)
        if logits.dtype == torch.bfloat16:
            logits = logits.float()
        loss = F.cross_entropy(
            logits,
            labels.to(self._device),
            None if weights is None else weights.to(logits),
            label_smoothing=self._chosen.label_smoothing,
        )
        return loss, len(batch) if weights is None else weights[labels].sum().item()

    def learning_rate(self, state: TrainingState[EpochRecord]) -> float:
        """By the schedule, counted to the middle of the step: neither the first nor last is 0."""
        done = state.epoch * self._batches + state.batches_done
        spent = (done + 0.5) / (self._chosen.epochs * self._batches)
        chosen = self._chosen
        factor = learning_rate_factor(chosen.schedule, spent, chosen.warmup)
        return chosen.learning_rate * factor

    def is_due(self, state: TrainingState[EpochRecord]) -> bool:
        """At the end of every epoch."""
        return state.batches_done == self._batches and len(state.history) == state.epoch

    def is_finished(self, state: TrainingState[EpochRecord]) -> bool:
        """After so many epochs, each measured, or where patience has ended."""
        losses = [record.validation_loss for record in state.history]
        if self._chosen.patience and losses:
            since_best = len(losses) - 1 - losses.index(min(losses))
            if since_best >= self._chosen.patience:
                return True
        return len(losses) == self._chosen.epochs

    def measure(
        self,
        state: TrainingState[EpochRecord],
        reporter: Reporter,
        should_stop: Callable[[], bool],
    ) -> EpochRecord:
        """Loss and accuracy over both splits."""
        if self._validation is None:
            return EpochRecord(state.epoch + 1, fmean(state.losses), nan, nan, nan)
        splits = (self._training, self._validation)
        self.model.eval()
        with reporter.task(
            f"Scoring epoch {state.epoch + 1}", sum(map(len, splits)), "messages"
        ) as task:

            def after_batch(messages: int) -> None:
                task.advance(messages)
                if should_stop():
                    raise TrainingInterrupted

            measured = []
            for split in splits:
                with self._products:
                    logits = logits_together(
                        self._classifier, split.messages, self._device, after_batch, split.trunk
                    )
                loss = F.cross_entropy(logits.double(), split.labels).item()
                accuracy = (logits.argmax(dim=1) == split.labels).double().mean().item()
                measured += [loss, accuracy]
        record = EpochRecord(state.epoch + 1, *measured)
        for loss in (record.training_loss, record.validation_loss):
            if not isfinite(loss):
                raise diverged(loss, self.where(state))
        return record

    def measure_as_published(self, state: TrainingState[EpochRecord]) -> None:
        """Adds what the published experiment measured after this step, if anything."""
        assert self._published
        assert self._validation
        steps = state.epoch * self._batches + state.batches_done
        few = list(range(min(MEASURED_BATCHES * self._step_size, len(self._validation))))
        for name, looks in (
            ("loss", self._published.losses_on),
            ("accuracy", self._published.accuracies_on),
        ):
            if steps in looks:
                training = self._measure_few(name, self._training, looks[steps])
                validation = self._measure_few(name, self._validation, few)
                seen = steps * self._step_size
                record = PeriodicRecord(name, steps, state.epoch + 1, seen, training, validation)
                state.periodic.append(asdict(record))

    @torch.no_grad()
    def _measure_few(self, measure: str, split: LabelledMessages, chosen: list[int]) -> float:
        """The mean over batches of their loss, or the accuracy."""
        self.model.eval()
        values, size = [], self._step_size
        for batch in (chosen[start : start + size] for start in range(0, len(chosen), size)):
            logits = logits_of(self._classifier, split.messages, batch, self._device, split.trunk)
            labels = split.labels[batch].to(self._device)
            if measure == "loss":
                values.append(F.cross_entropy(logits, labels).item())
            else:
                values += (logits.argmax(dim=1) == labels).double().tolist()
        self.model.train()
        return sum(values) / len(values)

    def bar(self, state: TrainingState[EpochRecord]) -> Bar:
        """The messages of the epoch that is or will be under way."""
        epoch, batches = state.epoch + 1, state.batches_done
        if batches == self._batches and not self.is_due(state):
            epoch, batches = epoch + 1, 0
        done = min(batches * self._step_size, len(self._training))
        return Bar(f"Epoch {epoch}/{self._chosen.epochs}", len(self._training), done, "messages")

    def where(self, state: TrainingState[EpochRecord]) -> str:
        """The epoch that is or will be under way."""
        return f"in epoch {len(state.history) + 1} of {self._chosen.epochs}"


def balanced_class_weights(labels: Tensor, classes: int) -> Tensor:
    """(classes,): the weight of each label with which all count the same.

    messages / (classes * messages of the label), as `class_weight="balanced"` in scikit-learn
    (King & Zeng 2001).
    """
    counts = torch.bincount(labels, minlength=classes)
    return len(labels) / (classes * counts.clamp(min=1))


def history_rows(reporter: Reporter, epochs: int) -> Callable[[EpochRecord], None]:
    """A table of the measurements, to be called with each."""
    row = reporter.table("epoch", "training loss", "accuracy", "validation loss", "accuracy")

    def show(record: EpochRecord) -> None:
        row(
            f"{record.epoch}/{epochs}",
            f"{record.training_loss:.4f}",
            f"{record.training_accuracy:.2%}",
            f"{record.validation_loss:.4f}",
            f"{record.validation_accuracy:.2%}",
        )

    return show


def labelled_messages(
    table: "pd.DataFrame", labels: Sequence[str], tokenizer: Tokenizer, context: int
) -> LabelledMessages:
    """The messages of a table with the columns `label` and `text`.

    Of one longer than `context` tokens the first are kept.
    """
    indices = [labels.index(label) for label in table[LABEL]]
    return LabelledMessages(tokenize(list(table[TEXT]), tokenizer, context), torch.tensor(indices))


def with_trunks(
    splits: dict[str, LabelledMessages],
    model: GPT2,
    specification: TrunkSpecification,
    cache: ArrayCache,
    reporter: Reporter,
    weights: Path | None,
) -> dict[str, LabelledMessages]:
    """The splits with the output of the frozen blocks, if there are any and the cache has room.

    `weights` is the file that these blocks were mapped from, None if they are not as it has them.
    """
    if specification.depth == 0:
        return splits
    messages = {name: split.messages for name, split in splits.items()}
    trunks = run_trunk(
        model.to(specification.device), specification, messages, cache, reporter, weights
    )
    if trunks is None:
        reporter.note(
            "The cache is too small for the outputs of the frozen blocks: they are computed again "
            "in every epoch."
        )
        return splits
    return {name: replace(split, trunk=trunks[name]) for name, split in splits.items()}
