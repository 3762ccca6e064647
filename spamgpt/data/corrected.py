"""Corrections in a table of messages: messages that it has get their label, others are added."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from spamgpt.data.corrections import Correction, same_message
from spamgpt.data.rows import LABEL, SOURCE, TEXT

# The column that says which messages were corrected, and what stands there of one.
CORRECTED, YES = "corrected", "yes"


@dataclass(frozen=True)
class CorrectedParts:
    """The splits with the corrections, how many messages got another label, how many were added."""

    parts: Mapping[str, pd.DataFrame]
    relabelled: int
    added: int


def correct(
    parts: Mapping[str, pd.DataFrame], corrections: Sequence[Correction], add_to: str
) -> CorrectedParts:
    """Gives the messages of `parts` their corrected labels and adds all others to one of them.

    A message that is in a part already stays where it is and is not added to another: corrections
    leak nothing. The column CORRECTED says which messages were corrected. Texts that `same_message`
    takes for equal are the same message.
    """
    labels = {same_message(each.text): each.label for each in corrections}
    found: set[bytes] = set()
    relabelled = 0
    corrected = {}
    for name, part in parts.items():
        messages = [same_message(text) for text in part[TEXT]]
        found.update(messages)
        wanted = [
            labels.get(message, label)
            for message, label in zip(messages, part[LABEL], strict=True)
        ]
        relabelled += sum(new != old for new, old in zip(wanted, part[LABEL], strict=True))
        marks = [YES if message in labels else "" for message in messages]
        corrected[name] = part.assign(**{LABEL: wanted, CORRECTED: marks})
    others = [each for each in corrections if same_message(each.text) not in found]
    if others:
        rows = [{LABEL: each.label, TEXT: each.text, CORRECTED: YES} for each in others]
        added = pd.DataFrame(rows, dtype="str")
        if SOURCE in corrected[add_to]:
            added[SOURCE] = "corrections"
        both = pd.concat([corrected[add_to], added], ignore_index=True)
        corrected[add_to] = both.fillna("")
    return CorrectedParts(corrected, relabelled, len(others))


def replayed(part: pd.DataFrame, most: int, seed: int) -> pd.DataFrame:
    """All corrected messages of a part, and at most so many of its others, drawn by the seed."""
    if CORRECTED not in part:
        others = part
    else:
        others = part[part[CORRECTED] != YES]
    if len(others) <= most:
        return part
    left_out = others.index.difference(others.sample(most, random_state=seed).index)
    return part.drop(index=left_out).reset_index(drop=True)
