"""The predictor: texts in, typed answers out. It knows no files, no rows and no terminals."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from itertools import islice
from threading import Lock
from typing import TYPE_CHECKING

from spamgpt.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from spamgpt.classifier.base import Predictions, TextClassifier
    from spamgpt.classifier.explanation import Span

# The third answer, where one is asked for.
UNSURE = "unsure"
# How many different texts are remembered with their probabilities.
MOST_REMEMBERED = 20_000


@dataclass(frozen=True)
class Prediction:
    """One answer: the text, the label it gets, and the probability of every label.

    `probability` is that of the label given; of the positive label, if that is UNSURE. `windows` is
    in how many pieces a long text was read; 1 for most. A very long text has more of
    them, `windows_left_out`, that were not read. `explanation`, where asked for,
    tells what each part of the text adds to the answer (of UNSURE: to the positive label).
    """

    text: str
    label: str
    probabilities: dict[str, float]
    probability: float
    windows: int
    explanation: "list[Span] | None" = None
    windows_left_out: int = 0


class Predictor:
    """Answers texts with a classifier and remembers the texts that came last.

    Spam comes in floods of the same text, which is computed once. Threads may share one.
    """

    def __init__(
        self,
        classifier: "TextClassifier",
        threshold: float | None = None,
        unsure: tuple[float, float] | None = None,
        explain: bool = False,
    ) -> None:
        """With two labels, the positive one is given from `threshold` on (None: the classifier's).

        With `unsure`, a range of probabilities, it is given from the higher one on, the other label
        up to the lower one, and UNSURE between them. With `explain` every answer says which words
        drove it. Raises UsageError for limits that do not fit each other or the labels.
        """
        _check_limits(classifier.labels, threshold, unsure)
        self.classifier = classifier
        self.threshold = classifier.config.threshold if threshold is None else threshold
        self.unsure = unsure
        self.explain = explain
        self._recent: dict[bytes, tuple[list[float], int, int]] = {}
        self._remembering = Lock()

    @property
    def labels(self) -> list[str]:
        """The labels that can be given."""
        return [*self.classifier.labels, *([UNSURE] if self.unsure else [])]

    @property
    def positive_label(self) -> str:
        """The label that `threshold` and `unsure` are about."""
        return self.classifier.config.positive_label

    def predict(self, texts: Sequence[str]) -> list[Prediction]:
        """The answer to each text, in order. Raises TypeError for one string."""
        if isinstance(texts, str):
            raise TypeError("texts is one string; give a list of messages")
        if not texts:
            return []
        found = self._scored(texts)
        return [
            self._prediction(*answered)
            for answered in zip(
                texts,
                self._decide(found.probabilities),
                found.probabilities.tolist(),
                found.windows,
                found.windows_left_out,
                strict=True,
            )
        ]

    def _scored(self, texts: Sequence[str]) -> "Predictions":
        """The probabilities and windows of each text; only new texts are computed."""
        import numpy as np

        from spamgpt.classifier.base import Predictions

        keys = [
            blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
            for text in texts
        ]
        with self._remembering:
            known = {key: self._recent[key] for key in keys if key in self._recent}
        new = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        found = self.classifier.predictions(list(new.values()))
        rows = zip(found.probabilities.tolist(), found.windows, found.windows_left_out, strict=True)
        computed = dict(zip(new, rows, strict=True))
        with self._remembering:
            self._recent.update(computed)
            for key in list(islice(self._recent, max(0, len(self._recent) - MOST_REMEMBERED))):
                del self._recent[key]
        known.update(computed)
        probabilities, windows, left_out = zip(*map(known.__getitem__, keys), strict=True)
        return Predictions(np.array(probabilities), list(windows), list(left_out))

    def _decide(self, probabilities: "npt.NDArray[np.float64]") -> list[str]:
        config = self.classifier.config
        if self.unsure is None:
            return config.decide(probabilities, self.threshold)
        # As bogofilter has it: at the higher limit it is spam, at the lower one it is not.
        low, high = self.unsure
        of_positive = probabilities[:, config.labels.index(config.positive_label)]
        return [
            UNSURE if low < probability < high else label
            for probability, label in zip(
                of_positive, config.decide(probabilities, high), strict=True
            )
        ]

    def _prediction(
        self,
        text: str,
        label: str,
        probabilities: list[float],
        windows: int,
        windows_left_out: int,
    ) -> Prediction:
        of_label = dict(zip(self.classifier.labels, probabilities, strict=True))
        found = Prediction(
            text, label, of_label, of_label[self._told(label)], windows, None, windows_left_out
        )
        return self.explained(found) if self.explain else found

    def explained(self, prediction: Prediction) -> Prediction:
        """The prediction with its explanation, which takes as long as dozens of predictions."""
        told = self._told(prediction.label)
        return replace(prediction, explanation=self.classifier.explain(prediction.text, told))

    def _told(self, label: str) -> str:
        """The label that an answer is about: UNSURE is told with the positive one."""
        return label if label in self.classifier.labels else self.positive_label


def _check_limits(
    labels: Sequence[str], threshold: float | None, unsure: tuple[float, float] | None
) -> None:
    for name, given in (("threshold", threshold), ("unsure", unsure)):
        if given is not None and len(labels) > 2:
            raise UsageError(
                f"`{name}` is for two labels; this classifier has {', '.join(labels)}.",
                "Leave it out: the answer is the most probable label.",
            )
    if threshold is not None and not 0 <= threshold <= 1:
        raise UsageError(
            f"A `threshold` of {threshold:g} is not a probability.", "Give one between 0 and 1."
        )
    if unsure is None:
        return
    if threshold is not None:
        raise UsageError(
            "`threshold` and `unsure` cannot be combined.",
            "Leave `threshold` out: the higher number of `unsure` is the threshold for spam.",
        )
    low, high = unsure
    if not 0 <= low <= high <= 1:
        raise UsageError(
            f"`unsure` is {low:g} {high:g}, which is not a range of probabilities.",
            "Give two numbers between 0 and 1, the lower one first.",
        )
    if UNSURE in labels:
        raise UsageError(f"The classifier has a label {UNSURE!r} already.", "Leave `unsure` out.")
