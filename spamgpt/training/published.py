"""The order of batches of the published experiment, and what it measured on the way.

Raschka 2024, chapter 6: torch's DataLoader shuffles after `torch.manual_seed`, and every look at
the data draws from the same random numbers, so that measurements decide the order of later epochs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from torch.utils.data import DataLoader

# The loss is measured after the first step and every so many steps, over so many batches.
MEASURE_EVERY, MEASURED_BATCHES = 50, 5


@dataclass(frozen=True)
class PeriodicRecord:
    """A measurement over a few batches: `measure` is `loss` (nats a message) or `accuracy`.

    `step` counts the steps done, `messages_seen` the messages of these.
    """

    measure: str
    step: int
    epoch: int
    messages_seen: int
    training: float
    validation: float


@dataclass(frozen=True)
class PublishedOrder:
    """Messages of the training split by their indices: the batches of each epoch in order.

    After step s the loss is measured on `losses_on[s]`, after the last of an epoch the accuracy on
    `accuracies_on[s]`; of the validation split the first batches serve.
    """

    epochs: Sequence[Sequence[list[int]]]
    losses_on: Mapping[int, list[int]]
    accuracies_on: Mapping[int, list[int]]


def published_order(
    training: int, validation: int, batch_size: int, epochs: int, seed: int
) -> PublishedOrder:
    """What the published experiment's loaders give for splits of so many messages."""

    def loader(messages: int, **how: bool) -> "DataLoader[int]":
        indices: list[int] = list(range(messages))
        return DataLoader(indices, batch_size, collate_fn=list, **how)  # type: ignore[arg-type]

    def look() -> list[int]:
        """The training messages that a measurement takes; both loaders draw random numbers."""
        batches = list(islice(trained, MEASURED_BATCHES))
        next(iter(measured), None)
        return [index for batch in batches for index in batch]

    # Where one batch is more than all messages, dropping it would leave nothing.
    trained = loader(training, shuffle=True, drop_last=training >= batch_size)
    measured = loader(validation)
    losses_on, accuracies_on = {}, {}
    order: list[list[list[int]]] = []
    steps = 0
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        for _ in range(epochs):
            batches = []
            for batch in trained:
                batches.append(batch)
                steps += 1
                if (steps - 1) % MEASURE_EVERY == 0:
                    losses_on[steps] = look()
            order.append(batches)
            accuracies_on[steps] = look()
    return PublishedOrder(order, losses_on, accuracies_on)
