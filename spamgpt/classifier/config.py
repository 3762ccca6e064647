"""What a classifier is besides its tensors: labels, threshold, temperature. Its file is JSON."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import numpy.typing as npt

from spamgpt.errors import BadDataError
from spamgpt.gpt2.config import PROJECTIONS, LoraConfig
from spamgpt.gpt2.pooling import OVER_PADDING, AttentionPattern, Pooling, sees_padding

if TYPE_CHECKING:
    from spamgpt.data.batches import TokenizedMessages

# The files of a classifier in a workspace: this configuration, and what training changed.
CONFIG_FILE = "config.json"
TRAINED_FILE = "trained.safetensors"
# The configuration in a self-contained folder, where config.json is that of the model.
SAVED_CONFIG_FILE = "spamgpt.json"

# Counts up when a field changes its meaning or a new one has to be understood.
FORMAT_VERSION = 1


@dataclass(frozen=True)
class ClassifierConfig:
    """Labels, how probabilities become answers, how messages are read, and what was trained.

    With two labels, a message gets `positive_label` if its probability is at least `threshold`;
    with more, it gets the most probable label. Logits are divided by `temperature` before they
    become probabilities (Guo et al. 2017). `unfreeze` is the name of the training policy.

    `pooling` is what of a message the head reads, `attention` what a token sees of it. `padding` is
    the length in tokens that messages are padded to and read by; None: each has its own, up to the
    model's context length. With `lora`, what was trained of the blocks is low-rank adapters. With
    `ngrams`, the logits of a linear model on n-grams are added to GPT-2's.
    """

    labels: list[str]
    positive_label: str
    threshold: float
    unfreeze: str
    temperature: float = 1.0
    pooling: Pooling = "last"
    attention: AttentionPattern = "causal"
    padding: int | None = None
    lora: LoraConfig | None = None
    ngrams: bool = False
    format_version: int = FORMAT_VERSION

    @classmethod
    def from_file(cls, path: Path) -> "ClassifierConfig":
        """Reads what `write` wrote.

        Raises BadDataError naming the field that is missing, unknown or has a value that does not
        fit, or for a file of a later version.
        """
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            raise BadDataError(f"{path} is not JSON: {error}.", _REMEDY) from error
        if not isinstance(values, dict):
            raise BadDataError(f"{path} does not hold a JSON object.", _REMEDY)
        version = values.get("format_version", FORMAT_VERSION)
        if _is_whole(version) and version > FORMAT_VERSION:
            raise BadDataError(
                f"{path} has format_version {version}, this spamgpt reads {FORMAT_VERSION}.",
                "Use the version of spamgpt that made it, or a later one.",
            )
        if problem := _problem(values):
            raise BadDataError(f"{path}: {problem}.", _REMEDY)
        if lora := values.get("lora"):
            values["lora"] = LoraConfig(**lora | {"targets": tuple(lora["targets"])})
        return cls(**values)

    def to_json(self) -> str:
        """All fields as JSON."""
        return json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"

    def write(self, path: Path) -> None:
        """Writes all fields as JSON."""
        path.write_text(self.to_json(), encoding="utf-8")

    def read(self, messages: "TokenizedMessages", end_of_text: int) -> "TokenizedMessages":
        """The messages as the model is given them: padded, where it can see padding.

        None may be longer than `padding`.
        """
        if self.padding is None or not self.pads:
            return messages
        return messages.padded(self.padding, end_of_text)

    @property
    def pads(self) -> bool:
        """Whether messages get padding: only where the model can see it."""
        return self.padding is not None and sees_padding(self.pooling, self.attention)

    def probabilities(self, logits: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """(messages, labels) logits -> the probability of each label, in the same shape."""
        scaled = np.asarray(logits, np.float64) / self.temperature
        odds = np.exp(scaled - scaled.max(axis=1, keepdims=True))
        probabilities: npt.NDArray[np.float64] = odds / odds.sum(axis=1, keepdims=True)
        return probabilities

    def combine(
        self, of_windows: npt.NDArray[np.float64], offsets: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float64]:
        """(windows, labels) -> (messages, labels): message i has the windows from `offsets[i]` on.

        With two labels, a message has the mean log-odds of its first window and of the most
        suspicious one: how a long text begins tells most, and spam cannot hide behind harmless
        words. With more, it has the mean probabilities of its windows.
        """
        if len(of_windows) == len(offsets) - 1:
            return of_windows
        parts = [of_windows[start:end] for start, end in pairwise(offsets)]
        if len(self.labels) > 2:
            return np.stack([part.mean(axis=0) for part in parts])
        positive = self.labels.index(self.positive_label)
        # The geometric mean of probabilities, normalised, is the mean of their log-odds.
        roots = [np.sqrt(np.maximum(part, 1e-300)) for part in parts]
        means = [root[0] * root[root[:, positive].argmax()] for root in roots]
        return np.stack([mean / mean.sum() for mean in means])

    def decide(
        self, probabilities: npt.NDArray[np.float64], threshold: float | None = None
    ) -> list[str]:
        """(messages, labels) -> the label of each message; `threshold` None: the classifier's."""
        if len(self.labels) > 2:
            return [self.labels[index] for index in probabilities.argmax(axis=1)]
        positive = self.labels.index(self.positive_label)
        limit = self.threshold if threshold is None else threshold
        return [
            self.labels[positive if row[positive] >= limit else 1 - positive]
            for row in probabilities
        ]


def positive_label(labels: Sequence[str]) -> str:
    """The label that precision and recall are about: `spam` if there is one, else the last."""
    return "spam" if "spam" in labels else labels[-1]


# That of `operating_points` where no message, however probable, may get the positive label.
_HIGHEST_THRESHOLD = math.nextafter(1, 2)
_REMEDY = "Make the classifier again: spamgpt finetune"


def _problem(values: Mapping[str, Any]) -> str | None:
    """The first thing that is wrong with the values of a file."""
    known = {field.name for field in fields(ClassifierConfig)}
    required = [f.name for f in fields(ClassifierConfig) if f.default is MISSING]
    if missing := [name for name in required if name not in values]:
        return f"missing field {', '.join(missing)}"
    if unknown := sorted(values.keys() - known):
        return f"unknown field {', '.join(unknown)}"
    labels = values["labels"]
    if not isinstance(labels, list) or not all(isinstance(name, str) for name in labels):
        return f"labels is {labels!r}, not a list of strings"
    if len(labels) < 2 or len(set(labels)) < len(labels):
        return f"labels is {labels!r}, not two or more different ones"
    expected: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
        "positive_label": ("one of the labels", lambda value: value in labels),
        "threshold": (
            "a number from 0 to 1",
            lambda value: _is_number(value) and 0 <= value <= _HIGHEST_THRESHOLD,
        ),
        "unfreeze": ("the name of a training policy", lambda value: isinstance(value, str)),
        "temperature": ("a number above 0", lambda value: _is_number(value) and value > 0),
        "pooling": (" or ".join(get_args(Pooling)), lambda value: value in get_args(Pooling)),
        "attention": (
            " or ".join(get_args(AttentionPattern)),
            lambda value: value in get_args(AttentionPattern),
        ),
        "padding": (
            "a number of tokens or null",
            lambda value: value is None or (_is_whole(value) and value > 0),
        ),
        "lora": (
            f"null or rank, alpha and targets, of {', '.join(PROJECTIONS)}",
            lambda value: value is None or _is_lora(value),
        ),
        "ngrams": ("true or false", lambda value: isinstance(value, bool)),
        "format_version": ("a version", lambda value: _is_whole(value) and value > 0),
    }
    for name, (what, fits) in expected.items():
        if name in values and not fits(values[name]):
            return f"{name} is {values[name]!r}, not {what}"
    if values.get("pooling") in OVER_PADDING and values.get("padding") is None:
        return f"pooling is {values['pooling']!r}, and there is no padding"
    return None


def _is_lora(value: object) -> bool:
    if not isinstance(value, dict) or value.keys() != {f.name for f in fields(LoraConfig)}:
        return False
    rank, alpha, targets = value["rank"], value["alpha"], value["targets"]
    return (
        (_is_whole(rank) and rank > 0)
        and (_is_number(alpha) and alpha > 0)
        and (isinstance(targets, list) and 0 < len(targets) == len(set(map(str, targets))))
        and all(target in PROJECTIONS for target in targets)
    )


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    # JSON as Python reads it knows NaN and Infinity as well.
    return (isinstance(value, float) and math.isfinite(value)) or _is_whole(value)
