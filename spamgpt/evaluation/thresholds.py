"""What thresholds do: how much of the positive label they catch, and how much else with it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from spamgpt.errors import UsageError
from spamgpt.evaluation.calibration import Floats
from spamgpt.evaluation.intervals import Interval, wilson_interval


def parse_share(text: str) -> float:
    """Reads `0.5%` or `0.005`; raises UsageError unless it is a share from 0 to 1.

    Without a per cent sign a share has to be below a tenth: whoever writes `0.5` or `1` has
    forgotten the sign, and would lose half of the ham or all of it.
    """
    is_percentage = text.endswith("%")
    try:
        share = float(text.removesuffix("%")) / (100 if is_percentage else 1)
    except ValueError:
        share = -1
    if not 0 <= share <= (1 if is_percentage else 0.1):
        raise UsageError(
            f"`max_false_positive_rate` {text} is not a percentage.",
            "For one in 200: `max_false_positive_rate=0.5%`",
        )
    return share


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold and what it does: a message is called positive from `threshold` on."""

    threshold: float
    true_positives: int
    false_positives: int
    positives: int
    negatives: int

    @property
    def recall(self) -> float:
        """The share of the positive messages that are called so."""
        return self.true_positives / self.positives if self.positives else 0.0

    @property
    def false_positive_rate(self) -> float:
        """The share of the other messages that are called positive."""
        return self.false_positives / self.negatives if self.negatives else 0.0

    @property
    def f1(self) -> float:
        """F1 of the positive label."""
        whole = self.true_positives + self.false_positives + self.positives
        return 2 * self.true_positives / whole if whole else 0.0


def operating_points(is_positive: npt.NDArray[np.bool_], scores: Floats) -> list[OperatingPoint]:
    """What each possible threshold does to messages with these scores, (messages,).

    The points go from the one that calls nothing positive to the one that calls everything
    positive. Of the thresholds with the same effect, 0.5 is taken if it is one of them, else the
    middle between the two scores that they separate.
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


def allowed_false_positives(negatives: int, most: float) -> int:
    """How many of the messages of the other label a false positive rate allows to be lost."""
    # A billionth more, for shares such as 0.7 % that no float holds exactly.
    return int(negatives * (most + 1e-9))


def with_false_positive_rate(points: Sequence[OperatingPoint], most: float) -> OperatingPoint:
    """The point that catches the most with at most this false positive rate; of equals, the first.

    The points are those of `operating_points`. Where the rate allows less than one message, none is
    lost: the threshold is above all of the other label, even if that leaves little to be caught.
    """
    allowed = allowed_false_positives(points[0].negatives, most)
    return max(
        (point for point in points if point.false_positives <= allowed),
        key=lambda point: point.recall,
    )


def with_best_f1(points: Sequence[OperatingPoint], scores: Floats) -> OperatingPoint:
    """The point of the best F1 to be expected where the scores are calibrated probabilities.

    Its threshold is half of that F1 (Lipton, Elkan, Narayanaswamy 2014). The threshold whose F1
    happens to be best on some labelled messages hangs on the few of them near the border.
    """
    ordered = np.sort(scores)[::-1]
    expected = 2 * np.cumsum(ordered) / (np.arange(1, len(ordered) + 1) + ordered.sum())
    return at_threshold(points, scores, float(expected.max()) / 2)


def at_threshold(
    points: Sequence[OperatingPoint], scores: Floats, threshold: float
) -> OperatingPoint:
    """What a threshold does to the messages with these scores, (messages,)."""
    called = int((scores >= threshold).sum())
    point = next(
        point for point in points if point.true_positives + point.false_positives == called
    )
    return replace(point, threshold=threshold)


# The shares of ham lost that an owner of a filter asks about.
FALSE_POSITIVE_RATES = (0.001, 0.005, 0.01)


@dataclass(frozen=True)
class PointAtLimit:
    """What can be caught at a limit to the false positive rate, with Wilson's intervals."""

    max_false_positive_rate: float
    threshold: float
    recall: float
    recall_interval: Interval | None
    false_positive_rate: float
    false_positives: int
    false_positive_interval: Interval | None


def points_at_limits(points: Sequence[OperatingPoint]) -> tuple[PointAtLimit, ...]:
    """What can be caught at each of FALSE_POSITIVE_RATES."""
    found = []
    for most in FALSE_POSITIVE_RATES:
        point = with_false_positive_rate(points, most)
        found.append(
            PointAtLimit(
                max_false_positive_rate=most,
                threshold=point.threshold,
                recall=point.recall,
                recall_interval=wilson_interval(point.true_positives, point.positives),
                false_positive_rate=point.false_positive_rate,
                false_positives=point.false_positives,
                false_positive_interval=wilson_interval(point.false_positives, point.negatives),
            )
        )
    return tuple(found)
