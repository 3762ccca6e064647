"""Resamples of scored messages, many at a time: what vectorised scores are computed from."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from spamgpt.evaluation.calibration import Floats
from spamgpt.evaluation.outcome import Outcome

# Weights that are held at once, in numbers: 64 MiB.
_AT_ONCE = 2**23


@dataclass(frozen=True)
class Resamples:
    """Some resamples of an outcome's messages.

    `weights` is (resamples, messages): how often each message is in each resample. Every property
    is (resamples,) or, by label, (resamples, labels).
    """

    outcome: Outcome
    weights: Floats

    @cached_property
    def messages(self) -> Floats:
        """How many messages each resample holds."""
        return np.asarray(self.weights.sum(axis=1))

    @property
    def hits(self) -> Floats:
        """By label: the messages that have it and got it."""
        return self._counts[0]

    @property
    def truths(self) -> Floats:
        """By label: the messages that have it."""
        return self._counts[1]

    @property
    def answers(self) -> Floats:
        """By label: the messages that got it."""
        return self._counts[2]

    @cached_property
    def precision(self) -> Floats:
        """By label."""
        return ratio(self.hits, self.answers)

    @cached_property
    def recall(self) -> Floats:
        """By label."""
        return ratio(self.hits, self.truths)

    @cached_property
    def f1(self) -> Floats:
        """By label."""
        return ratio(2 * self.hits, self.truths + self.answers)

    @cached_property
    def rankings(self) -> tuple[Floats, Floats] | None:
        """ROC-AUC and average precision, the mean of the ranked labels; None without any."""
        ranked = [
            _ranked(self.outcome, label, self.weights) for label in self.outcome.ranked_labels
        ]
        if not ranked:
            return None
        auc, precision = zip(*ranked, strict=True)
        return np.mean(auc, axis=0), np.mean(precision, axis=0)

    def mean(self, values: Floats) -> Floats:
        """The mean over the messages of values (messages,) or (messages, columns)."""
        sums = self.weights @ values
        mean: Floats = (sums.T / self.messages).T
        return mean

    @cached_property
    def _counts(self) -> tuple[Floats, Floats, Floats]:
        one_hot = np.eye(len(self.outcome.labels))
        truth, answer = one_hot[self.outcome.truth_indices], one_hot[self.outcome.predicted_indices]
        sums = self.weights @ np.concatenate([truth * answer, truth, answer], axis=1)
        hits, truths, answers = np.split(sums, 3, axis=1)
        return hits, truths, answers


def draw(outcome: Outcome, resamples: int, seed: int) -> Iterator[Resamples]:
    """Yields the resamples, as many at a time as memory allows.

    Each has as many messages of each label as there are, drawn with replacement. The draws depend
    on the seed and the true labels only.
    """
    generator = np.random.default_rng(seed)
    messages = len(outcome.truth)
    members = [
        np.flatnonzero(outcome.truth_indices == label) for label in range(len(outcome.labels))
    ]
    step = max(1, _AT_ONCE // messages)
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        weights = np.zeros((rows, messages))
        for indices in members:
            if not len(indices):
                continue
            drawn = generator.integers(len(indices), size=(rows, len(indices)))
            drawn += len(indices) * np.arange(rows)[:, None]
            counts = np.bincount(drawn.ravel(), minlength=rows * len(indices))
            weights[:, indices] = counts.reshape(rows, len(indices))
        yield Resamples(outcome, weights)


def ratio(part: Floats, whole: Floats) -> Floats:
    """The quotient; zero where the whole is."""
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def _ranked(outcome: Outcome, label: int, weights: Floats) -> tuple[Floats, Floats]:
    """(resamples,) each: the area under a label's ROC curve, and its average precision."""
    scores = outcome.scores[:, label]
    order = np.argsort(-scores, kind="stable")  # the likeliest first; ties form a group
    group_ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    is_positive: npt.NDArray[np.bool_] = (outcome.truth_indices == label)[order]
    ordered = weights[:, order]
    positives = np.cumsum(ordered * is_positive, axis=1)[:, group_ends]
    negatives = np.cumsum(ordered * ~is_positive, axis=1)[:, group_ends]
    new_positives = np.diff(positives, axis=1, prepend=0)
    new_negatives = np.diff(negatives, axis=1, prepend=0)
    pairs = positives[:, -1] * negatives[:, -1]
    auc = (new_negatives * (positives - new_positives / 2)).sum(axis=1) / pairs
    # Precision where nothing was drawn yet is multiplied by no new positives.
    precision = positives / np.maximum(positives + negatives, 1)
    return auc, (new_positives * precision).sum(axis=1) / positives[:, -1]
