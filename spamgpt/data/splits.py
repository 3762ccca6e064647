"""From a table of labelled messages to training, validation and test splits."""

import re
from dataclasses import dataclass

import pandas as pd
from sklearn.model_selection import train_test_split

from spamgpt.data.rows import LABEL, SPLITS, TEXT
from spamgpt.errors import BadDataError, UsageError


@dataclass(frozen=True)
class Shares:
    """What percentage of the messages goes into each split."""

    train: int
    validation: int
    test: int

    @classmethod
    def parse(cls, text: str) -> "Shares":
        """Reads `70/10/20`; raises UsageError unless there are three shares that add up to 100."""
        match = re.fullmatch(r"([0-9]{1,3})/([0-9]{1,3})/([0-9]{1,3})", text)
        parts = [int(part) for part in match.groups()] if match else []
        empty = [name for name, part in zip(SPLITS, parts, strict=False) if not part]
        problem = None
        if not parts:
            problem = "is not three shares"
        elif sum(parts) != 100:
            problem = f"adds up to {sum(parts)}, not 100"
        elif empty:
            problem = f"leaves nothing for {' and '.join(empty)}"
        if problem:
            raise UsageError(
                f"`split={text}` {problem}.",
                "Give training, validation and test in percent: `split=70/10/20`",
            )
        return cls(*parts)


def drop_repeats(messages: pd.DataFrame) -> pd.DataFrame:
    """Keeps the first message of each text: a repeat in two splits would be a leak."""
    return messages.drop_duplicates(TEXT, ignore_index=True)


def conflicting_texts(messages: pd.DataFrame) -> int:
    """How many texts occur with more than one label."""
    return int((messages.groupby(TEXT, sort=False)[LABEL].nunique() > 1).sum())


def balance(messages: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Keeps as many messages of every label as the rarest label has."""
    fewest = messages[LABEL].value_counts().min()
    return messages.groupby(LABEL).sample(n=fewest, random_state=seed).reset_index(drop=True)


def split(
    messages: pd.DataFrame, shares: Shares, seed: int, stratify: bool
) -> dict[str, pd.DataFrame]:
    """Shuffles and cuts: the training and validation shares rounded down, the rest for the test.

    With `stratify` every split has the labels in the proportion of the whole. Raises BadDataError
    where there are too few messages for that.
    """
    train = len(messages) * shares.train // 100
    validation = len(messages) * shares.validation // 100
    if min(train, validation) < 1:
        raise BadDataError(
            f"{len(messages)} messages are too few to be split.", "Fetch a larger data set."
        )
    if not stratify:
        shuffled = messages.sample(frac=1, random_state=seed, ignore_index=True)
        parts = (
            shuffled[:train],
            shuffled[train : train + validation],
            shuffled[train + validation :],
        )
    else:
        try:
            first, rest = train_test_split(
                messages, train_size=train, stratify=messages[LABEL], random_state=seed
            )
            parts = (
                first,
                *train_test_split(
                    rest, train_size=validation, stratify=rest[LABEL], random_state=seed
                ),
            )
        except ValueError as error:
            counts = messages[LABEL].value_counts()
            raise BadDataError(
                f"{len(messages):,} messages cannot be split so that every part has each of the "
                f"{len(counts)} labels in proportion. The rarest label, {counts.index[-1]!r}, has "
                f"{counts.iloc[-1]}.",
                "Use `stratify=False`, or give more messages of that label.",
            ) from error
    return {name: part.reset_index(drop=True) for name, part in zip(SPLITS, parts, strict=True)}
