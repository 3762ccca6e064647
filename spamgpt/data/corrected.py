"""Corrections in a table of messages: messages that it has get their label, others are added."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from spamgpt.data.corrections import Correction, same_message
from spamgpt.data.rows import LABEL, SOURCE, TEXT
from spamgpt.data.splits import Shares

# The column that says which messages were corrected, and what stands there of one.
CORRECTED, YES = "corrected", "yes"


@dataclass(frozen=True)
class CorrectedParts:
    """The splits with the corrections, how many messages got another label, how many were added."""

    parts: Mapping[str, pd.DataFrame]
    relabelled: int
    added: int


def correct(
    parts: Mapping[str, pd.DataFrame],
    corrections: Sequence[Correction],
    shares: Shares | None = None,
) -> CorrectedParts:
    """Gives the messages of the splits their corrected labels and adds all others to training.

    With `shares` these are spread over the splits instead, each by its own hash, so that it stays
    where it is while others come. A message that is in a split already is not added to another:
    corrections leak nothing. The column CORRECTED says which messages were corrected. Texts that
    `same_message` takes for equal are the same message.
    """
    others = {same_message(each.text): each for each in corrections}
    labels = {message: each.label for message, each in others.items()}
    relabelled = 0
    corrected = {}
    for name, part in parts.items():
        messages = [same_message(text) for text in part[TEXT]]
        for message in messages:
            others.pop(message, None)
        wanted = [
            labels.get(message, label) for message, label in zip(messages, part[LABEL], strict=True)
        ]
        relabelled += sum(new != old for new, old in zip(wanted, part[LABEL], strict=True))
        marks = [YES if message in labels else "" for message in messages]
        corrected[name] = part.assign(**{LABEL: wanted, CORRECTED: marks})
    added: dict[str, list[Correction]] = {}
    for message, each in others.items():
        added.setdefault(_place(message, shares) if shares else "train", []).append(each)
    for name, more in added.items():
        corrected[name] = _with(corrected[name], more)
    return CorrectedParts(corrected, relabelled, len(others))


def _place(message: bytes, shares: Shares) -> str:
    """The split of a message: its hash, taken for a number from 0 to 99, is as good as chance."""
    number = int.from_bytes(message) % 100
    if number < shares.train:
        return "train"
    return "validation" if number < shares.train + shares.validation else "test"


def _with(part: pd.DataFrame, corrections: Sequence[Correction]) -> pd.DataFrame:
    rows = [{LABEL: each.label, TEXT: each.text, CORRECTED: YES} for each in corrections]
    added = pd.DataFrame(rows, dtype="str")
    if SOURCE in part:
        added[SOURCE] = "corrections"
    return pd.concat([part, added], ignore_index=True).fillna("")


def replayed(part: pd.DataFrame, most: int, seed: int) -> pd.DataFrame:
    """All corrected messages of a part, and at most so many of its others, drawn by the seed."""
    others = part[part[CORRECTED] != YES] if CORRECTED in part else part
    if len(others) <= most:
        return part
    left_out = others.index.difference(others.sample(most, random_state=seed).index)
    return part.drop(index=left_out).reset_index(drop=True)
