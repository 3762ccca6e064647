"""What a run of training is for, and how far it has come: what the trainer asks an objective."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from torch import Tensor, nn

from spamgpt.reporting import Reporter

Record = TypeVar("Record")


class TrainingInterrupted(Exception):
    """Training was asked to stop, and its state is where it can go on."""


@dataclass
class TrainingState(Generic[Record]):
    """How far a run has come; the tensors apart, all there is to keep.

    `epoch` counts from 0; `batches_done` are those of the epoch under way, `tokens` and `seconds`
    those of all steps. `history` has a record of each measurement; `losses` are those of the steps
    since the last one, which was made after `measured_tokens`. `periodic` is what is measured
    between steps besides, as plain values.
    """

    epoch: int = 0
    batches_done: int = 0
    tokens: int = 0
    seconds: float = 0.0
    measured_tokens: int = 0
    losses: list[float] = field(default_factory=list)
    history: list[Record] = field(default_factory=list)
    periodic: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Bar:
    """A progress bar: of `total` units, `done` are done."""

    description: str
    total: int
    done: int
    unit: str


class Objective(Protocol[Record]):
    """What a run of training is for. The answers of its methods depend on their arguments only."""

    model: nn.Module
    # Whether one progress bar shows the whole run, or each ends where a measurement begins.
    one_bar: bool

    def batches(self, epoch: int) -> Sequence[Sequence[int]]:
        """The batches of an epoch, each the indices of what is trained on together."""
        ...

    def tokens(self, batch: Sequence[int]) -> int:
        """The tokens of a batch."""
        ...

    def loss(self, batch: Sequence[int]) -> tuple[Tensor, float]:
        """The mean loss, (), and how much it is the mean of: messages, tokens, or their weights."""
        ...

    def learning_rate(self, state: TrainingState[Record]) -> float:
        """That of the next step."""
        ...

    def is_due(self, state: TrainingState[Record]) -> bool:
        """Whether it is time to measure."""
        ...

    def is_finished(self, state: TrainingState[Record]) -> bool:
        """Whether the budget is spent."""
        ...

    def measure(
        self, state: TrainingState[Record], reporter: Reporter, should_stop: Callable[[], bool]
    ) -> Record:
        """How good the model is now; raises TrainingInterrupted if it is asked to stop."""
        ...

    def bar(self, state: TrainingState[Record]) -> Bar:
        """The progress to show."""
        ...

    def where(self, state: TrainingState[Record]) -> str:
        """How far the run has come, in words: `in epoch 2 of 5`."""
        ...
