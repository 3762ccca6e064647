"""What thresholds do: how much of the positive label they catch and how much else they lose."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from spamgpt.errors import UsageError
from spamgpt.evaluation.calibration import Floats


def parse_share(text: str) -> float:
    """Reads `0.5%`; raises UsageError unless it is a percentage from 0 to 100."""
    try:
        share = float(text.removesuffix("%")) / 100
    except ValueError:
        share = -1
    if not (text.endswith("%") and 0 <= share <= 1):
        raise UsageError(
            f"--max-ham-loss {text} is not a percentage.", "For one in 200: --max-ham-loss 0.5%"
        )
    return share


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold and what it does: a message is called positive from `threshold` on.

    `recall` is the share of the positive messages that are caught, `ham_lost` that of the others
    that are called positive; `precision` is 0 where nothing is.
    """

    threshold: float
    caught: int
    lost: int
    positives: int
    negatives: int

    @property
    def recall(self) -> float:
        return self.caught / self.positives if self.positives else 0.0

    @property
    def ham_lost(self) -> float:
        return self.lost / self.negatives if self.negatives else 0.0

    @property
    def f1(self) -> float:
        whole = self.caught + self.lost + self.positives
        return 2 * self.caught / whole if whole else 0.0


def operating_points(is_positive: npt.NDArray[np.bool_], scores: Floats) -> list[OperatingPoint]:
    """All that thresholds can do to messages with these probabilities (messages,) of the positive.

    From the one that calls nothing positive to the one that calls everything so.

    The threshold is 0.5 if that does it, else halfway between the two scores that it parts.
    """
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    # Called positive: the first `count`, for every count that does not part equal scores.
    ends = np.flatnonzero(np.append(np.diff(ordered) != 0, True)) + 1
    counts = np.concatenate([[0], ends])
    caught = np.concatenate([[0], np.cumsum(is_positive[order])])
    positives = int(caught[-1])
    return [
        OperatingPoint(
            _between(
                ordered[count] if count < len(ordered) else 0.0,
                ordered[count - 1] if count else np.nextafter(1.0, 2.0),
            ),
            int(caught[count]),
            int(count - caught[count]),
            positives,
            len(ordered) - positives,
        )
        for count in counts
    ]


def _between(below: float, lowest: float) -> float:
    """A threshold above one score that the next higher one still reaches."""
    if below < 0.5 <= lowest:
        return 0.5
    middle = (below + lowest) / 2
    return float(middle if middle > below else lowest)


def with_ham_loss(points: Sequence[OperatingPoint], most: float) -> OperatingPoint:
    """The point that catches the most with at most this share of ham lost; of equals, the first."""
    # A billionth more, for shares such as 0.7 % that no float holds exactly.
    allowed = [point for point in points if point.ham_lost <= most + 1e-9]
    return max(allowed, key=lambda point: point.recall)


def with_best_f1(points: Sequence[OperatingPoint], scores: Floats) -> OperatingPoint:
    """The point of the best F1 to be expected where the scores are calibrated probabilities.

    Its threshold is half of that F1 (Lipton, Elkan, Narayanaswamy 2014). The threshold whose F1
    happens to be best on some labelled messages hangs on the few of them near the border.
    """
    ordered = np.sort(scores)[::-1]
    expected = 2 * np.cumsum(ordered) / (np.arange(1, len(ordered) + 1) + ordered.sum())
    threshold = float(expected.max()) / 2
    called = int((scores >= threshold).sum())
    point = next(point for point in points if point.caught + point.lost == called)
    return replace(point, threshold=threshold)


# The shares of ham that an owner of a filter asks about.
HAM_LOSSES = (0.001, 0.005, 0.01)


def describe_points(points: Sequence[OperatingPoint]) -> list[dict[str, Any]]:
    """What can be caught at each of HAM_LOSSES."""
    from spamgpt.evaluation.intervals import wilson_interval

    described = []
    for most in HAM_LOSSES:
        point = with_ham_loss(points, most)
        described.append(
            {
                "max_ham_loss": most,
                "threshold": point.threshold,
                "recall": point.recall,
                "recall_interval": wilson_interval(point.caught, point.positives),
                "ham_lost": point.ham_lost,
                "ham_lost_messages": point.lost,
                "ham_lost_interval": wilson_interval(point.lost, point.negatives),
            }
        )
    return described
