"""Scores of kinds of messages: where a classifier is weaker than its mean."""

import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from spamgpt.data.rows import SOURCE
from spamgpt.evaluation.intervals import Interval, wilson_interval
from spamgpt.evaluation.outcome import Outcome

# With fewer messages a slice's score is noise: it is shown but not named the worst.
FEWEST = 30

# The sources with the most messages are told one by one.
_MOST_SOURCES = 12

_LINK = re.compile(r"https?://|\bwww\.|\b[\w-]+\.(?:com|net|org|info|biz|co|io|me|uk|ly)\b", re.I)

_LENGTHS = (
    (40, "up to 40 characters"),
    (80, "41 to 80 characters"),
    (160, "81 to 160 characters"),
)


def _length(text: str) -> str:
    # An SMS has room for 160.
    return next((name for most, name in _LENGTHS if len(text) <= most), "over 160 characters")


def _with(what: str, has: Callable[[str], object]) -> Callable[[str], str]:
    return lambda text: f"with {what}" if has(text) else f"without {what}"


_KINDS: Mapping[str, Callable[[str], str]] = {
    "length": _length,
    "links": _with("a link", _LINK.search),
    "digits": _with("digits", lambda text: any(map(str.isdigit, text))),
    "currency": _with(
        "a currency sign", lambda text: any(unicodedata.category(c) == "Sc" for c in text)
    ),
    "characters": _with("characters beyond ASCII", lambda text: not text.isascii()),
}


@dataclass(frozen=True)
class Slice:
    """The scores of the messages of one kind.

    `slice` is what they are told apart by (`length`, `source`), `value` which of them these are.
    `interval` is Wilson's of the accuracy; `f1` is of the positive label, None where it has no
    message. `labels` counts the messages of each label.
    """

    slice: str
    value: str
    messages: int
    errors: int
    accuracy: float
    interval: Interval | None
    f1: float | None
    labels: Mapping[str, int]


def slices(
    texts: Sequence[str], outcome: Outcome, sources: Sequence[str] | None = None
) -> tuple[Slice, ...]:
    """Each slice of the messages that is neither empty nor everything.

    By length, links, digits, currency signs, characters beyond ASCII and, where they are known,
    `sources`.
    """
    found = []
    for kind, values in _values(texts, sources):
        for value in dict.fromkeys(sorted(values, key=_in_order)):
            members = np.array([value == each for each in values])
            if not members.all():
                found.append(_scored(kind, value, outcome, members))
    return tuple(found)


def worst(scored: Sequence[Slice]) -> Slice | None:
    """The slice of the lowest accuracy, of those with FEWEST messages and a mistake, if any."""
    candidates = [each for each in scored if each.messages >= FEWEST and each.errors]
    return min(candidates, key=lambda each: each.accuracy, default=None)


def _values(texts: Sequence[str], sources: Sequence[str] | None) -> Iterator[tuple[str, list[str]]]:
    for kind, value_of in _KINDS.items():
        yield kind, [value_of(text) for text in texts]
    if sources is not None:
        names, counts = np.unique(np.array(sources, dtype=object), return_counts=True)
        frequent = set(names[np.argsort(-counts, kind="stable")][:_MOST_SOURCES])
        yield SOURCE, [name if name in frequent else "other sources" for name in sources]


def _in_order(value: str) -> tuple[int, str]:
    """Lengths from short to long, all else by name."""
    lengths = [name for _, name in _LENGTHS]
    return (lengths.index(value) if value in lengths else len(lengths), value)


def _scored(kind: str, value: str, outcome: Outcome, members: npt.NDArray[np.bool_]) -> Slice:
    truth, predicted = outcome.truth_indices[members], outcome.predicted_indices[members]
    right, messages = int((truth == predicted).sum()), int(members.sum())
    positive = outcome.positive_index
    hits = int(((truth == positive) & (predicted == positive)).sum())
    positives, called = int((truth == positive).sum()), int((predicted == positive).sum())
    return Slice(
        slice=kind,
        value=value,
        messages=messages,
        errors=messages - right,
        accuracy=right / messages,
        interval=wilson_interval(right, messages),
        f1=2 * hits / (positives + called) if positives else None,
        labels={label: int((truth == index).sum()) for index, label in enumerate(outcome.labels)},
    )
