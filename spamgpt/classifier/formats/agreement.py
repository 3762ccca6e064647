"""How nearly an export answers as the classifier that it was made from."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from spamgpt.classifier.config import ClassifierConfig


@dataclass(frozen=True)
class Agreement:
    """How an export answers some messages, compared with the classifier that it was made from.

    `same_label` is the share of messages that get the same label; the differences are those of a
    label's probability.
    """

    messages: int
    same_label: float
    largest_difference: float
    mean_difference: float

    @classmethod
    def between(
        cls,
        config: ClassifierConfig,
        expected: npt.NDArray[np.float64],
        found: npt.NDArray[np.float64],
    ) -> "Agreement":
        """That of two arrays of probabilities, (messages, labels)."""
        differences = np.abs(found - expected)
        pairs = zip(config.decide(expected), config.decide(found), strict=True)
        return cls(
            len(expected),
            float(np.mean([one == other for one, other in pairs])),
            float(differences.max()),
            float(differences.mean()),
        )

    def __str__(self) -> str:
        return (
            f"{self.same_label:.2%} of {self.messages:,} messages get the same label; "
            f"probabilities differ by {self.mean_difference:.2g} on average, at most "
            f"{self.largest_difference:.2g}"
        )
