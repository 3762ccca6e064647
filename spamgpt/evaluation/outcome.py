"""What a model answered for messages whose labels are known; all scores are computed from it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from spamgpt.evaluation.calibration import Floats


@dataclass(frozen=True)
class ByLabel:
    """The scores of each label against the rest, (labels,) each; `support` counts its messages."""

    precision: Floats
    recall: Floats
    f1: Floats
    support: npt.NDArray[np.intp]


@dataclass(frozen=True)
class Outcome:
    """What was answered for messages whose labels are known.

    `scores` is (messages, labels): the higher, the more likely the label. `probabilities` is of the
    same shape, or None for a model that has none; they sum to one for each message.
    """

    truth: Sequence[str]
    predicted: Sequence[str]
    labels: Sequence[str]
    positive_label: str
    scores: Floats
    probabilities: Floats | None = None

    @cached_property
    def truth_indices(self) -> npt.NDArray[np.intp]:
        """(messages,): the place of each true label in `labels`."""
        return _indices(self.truth, self.labels)

    @cached_property
    def predicted_indices(self) -> npt.NDArray[np.intp]:
        """(messages,): the place of each answer in `labels`."""
        return _indices(self.predicted, self.labels)

    @property
    def positive_index(self) -> int:
        """The place of the positive label in `labels`."""
        return list(self.labels).index(self.positive_label)

    @property
    def correct(self) -> npt.NDArray[np.bool_]:
        """(messages,): whether each answer is right."""
        return np.asarray(self.truth_indices == self.predicted_indices)

    @property
    def ranked_labels(self) -> list[int]:
        """The labels whose ranking is judged: the positive of two, each of more.

        Empty where a label has no message: a ranking without one side says nothing.
        """
        if len(set(self.truth)) < len(self.labels):
            return []
        return [self.positive_index] if len(self.labels) == 2 else list(range(len(self.labels)))

    @cached_property
    def by_label(self) -> ByLabel:
        """Precision, recall and F1 of each label; 0 where there is nothing to divide by."""
        from sklearn.metrics import precision_recall_fscore_support

        return ByLabel(
            *precision_recall_fscore_support(
                self.truth, self.predicted, labels=list(self.labels), zero_division=0.0
            )
        )


def _indices(names: Sequence[str], labels: Sequence[str]) -> npt.NDArray[np.intp]:
    places = {label: place for place, label in enumerate(labels)}
    return np.array([places[name] for name in names], dtype=np.intp)
