"""The data of the published experiment, against lists made with its own calls of pandas."""

import hashlib

import pandas as pd
import pytest

from spamgpt.data.published import balance_spam, read_with_quotes, shuffle_and_cut
from spamgpt.data.splits import Shares
from spamgpt.data.tables import read_labelled_file
from spamgpt.errors import BadDataError

SHARES = Shares.parse("70/10/20")


def digest(table: pd.DataFrame) -> str:
    """A hash over labels and texts in their order."""
    lines = table["label"] + "\t" + table["text"]
    return hashlib.sha256("\0".join(lines).encode()).hexdigest()


def made_with_the_recipes_calls(path) -> dict[str, pd.DataFrame]:
    read = pd.read_csv(path, sep="\t", header=None, names=["label", "text"])
    assert len(read) == 5572
    spam = read[read["label"] == "spam"]
    ham = read[read["label"] == "ham"].sample(spam.shape[0], random_state=123)
    table = pd.concat([ham, spam]).sample(frac=1, random_state=123).reset_index(drop=True)
    first, second = int(len(table) * 0.7), int(len(table) * 0.7) + int(len(table) * 0.1)
    return {"train": table[:first], "validation": table[first:second], "test": table[second:]}


def test_the_same_messages_land_in_the_same_splits(sms_collection):
    messages = read_with_quotes(read_labelled_file(sms_collection))
    assert len(messages) == 5572
    splits = shuffle_and_cut(balance_spam(messages, 123), SHARES, 123)
    assert {name: len(part) for name, part in splits.items()} == {
        "train": 1045,
        "validation": 149,
        "test": 300,
    }
    expected = made_with_the_recipes_calls(sms_collection)
    assert {name: digest(part) for name, part in splits.items()} == {
        name: digest(part) for name, part in expected.items()
    }


def table(*rows: tuple[str, str]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["label", "text"], dtype="str")


def test_a_message_that_begins_with_a_quote_takes_the_next_with_it():
    read = read_with_quotes(table(("ham", '"so'), ("spam", 'win" now'), ("ham", "NA"), ("ham", "")))
    assert list(read["text"]) == ["so\nspam\twin now", "NA", ""]
    assert list(read["label"]) == ["ham"] * 3


def test_what_no_such_file_can_have_held_is_refused():
    with pytest.raises(BadDataError, match="tab or a line end"):
        read_with_quotes(table(("ham", "a\tb")))
    with pytest.raises(BadDataError, match="1 others"):
        balance_spam(table(("ham", "a"), ("spam", "b"), ("news", "c")), 123)
    with pytest.raises(BadDataError, match="1 ham, 2 spam"):
        balance_spam(table(("ham", "a"), ("spam", "b"), ("spam", "c")), 123)
