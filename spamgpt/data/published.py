"""The data of the published experiment: how it read, balanced and split the SMS collection.

Raschka 2024, chapter 6. The order of pandas' calls and their seeds decide which message lands in
which split.
"""

import io

import pandas as pd

from spamgpt.data.rows import LABEL, SPLITS, TEXT
from spamgpt.data.splits import Shares
from spamgpt.errors import BadDataError


def read_with_quotes(messages: pd.DataFrame) -> pd.DataFrame:
    """The table as the experiment read it: tab-separated lines, double quotes around fields.

    A message that begins with a double quote goes on to the next one, beyond the end of its line:
    of the 5,574 messages of the collection 5,572 come out, two of them several run together.
    Raises BadDataError where a text or a label holds a tab or a line end, so that the file that
    the messages came from cannot have been of this kind.
    """
    for column in (LABEL, TEXT):
        if messages[column].str.contains(r"[\t\r\n]").any():
            raise BadDataError(
                f"`recipe=published` reads a file of tab-separated lines; a {column} holds a tab "
                "or a line end.",
                "Leave `recipe` out.",
            )
    lines = io.StringIO("".join(messages[LABEL] + "\t" + messages[TEXT] + "\n"))
    table = pd.read_csv(lines, sep="\t", header=None, names=[LABEL, TEXT], keep_default_na=False)
    return table.astype("str")


def balance_spam(messages: pd.DataFrame, seed: int) -> pd.DataFrame:
    """As much ham as there is spam, drawn at random, then the spam.

    Raises BadDataError unless the labels are ham and spam and there is enough ham.
    """
    spam, ham = messages[messages[LABEL] == "spam"], messages[messages[LABEL] == "ham"]
    if len(spam) + len(ham) < len(messages) or not 0 < len(spam) <= len(ham):
        raise BadDataError(
            f"`recipe=published` is for ham and at most as much spam; there are {len(ham):,} ham, "
            f"{len(spam):,} spam and {len(messages) - len(ham) - len(spam):,} others.",
            "Leave `recipe` out.",
        )
    return pd.concat([ham.sample(len(spam), random_state=seed), spam])


def shuffle_and_cut(messages: pd.DataFrame, shares: Shares, seed: int) -> dict[str, pd.DataFrame]:
    """The splits: shuffled, training and validation rounded down, the rest for the test."""
    shuffled = messages.sample(frac=1, random_state=seed).reset_index(drop=True)
    train = int(len(shuffled) * (shares.train / 100))
    end = train + int(len(shuffled) * (shares.validation / 100))
    parts = shuffled[:train], shuffled[train:end], shuffled[end:]
    return {name: part.reset_index(drop=True) for name, part in zip(SPLITS, parts, strict=True)}
