import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spamgpt.data.splits import (
    SPLITS,
    Shares,
    balance,
    conflicting_texts,
    drop_repeats,
    split,
)
from spamgpt.errors import BadDataError, UsageError


def messages(ham: int, spam: int) -> pd.DataFrame:
    labels = ["ham"] * ham + ["spam"] * spam
    return pd.DataFrame({"label": labels, "text": [f"message {n}" for n in range(ham + spam)]})


SHARES = Shares(70, 10, 20)


@pytest.mark.parametrize("stratify", [True, False])
@pytest.mark.parametrize(
    ("ham", "spam", "sizes"),
    [(747, 747, (1045, 149, 300)), (653, 653, (914, 130, 262)), (4518, 653, (3619, 517, 1035))],
)
def test_the_sizes_are_those_published(ham, spam, sizes, stratify):
    parts = split(messages(ham, spam), SHARES, 123, stratify)
    assert tuple(len(parts[name]) for name in SPLITS) == sizes


@given(ham=st.integers(20, 200), spam=st.integers(20, 200), seed=st.integers(0, 2**31 - 1))
def test_every_message_is_in_exactly_one_split(ham, spam, seed):
    whole = messages(ham, spam)
    parts = split(whole, SHARES, seed, stratify=True)
    assert sorted(pd.concat(parts.values())["text"]) == sorted(whole["text"])


def test_stratified_splits_have_the_labels_in_proportion():
    for part in split(messages(900, 100), SHARES, 123, stratify=True).values():
        assert (part["label"] == "spam").mean() == pytest.approx(0.1, abs=0.005)


def test_the_published_shuffle_is_reproduced_without_stratifying():
    whole = messages(50, 50)
    published = whole.sample(frac=1, random_state=123)["text"]
    parts = split(whole, SHARES, 123, stratify=False)
    assert [text for part in parts.values() for text in part["text"]] == list(published)


def test_the_seed_decides_the_split():
    first, again, other = (
        split(messages(50, 50), SHARES, seed, stratify=True)["test"]["text"].tolist()
        for seed in (1, 1, 2)
    )
    assert first == again != other


def test_balancing_keeps_as_many_of_each_label_as_the_rarest_has():
    balanced = balance(messages(50, 20), seed=1)
    assert balanced["label"].value_counts().to_dict() == {"ham": 20, "spam": 20}
    assert balanced["text"].is_unique


def test_of_repeated_texts_the_first_is_kept():
    table = pd.DataFrame({"label": ["ham", "spam", "ham"], "text": ["a", "a", "b"]})
    assert drop_repeats(table).to_dict("list") == {"label": ["ham", "ham"], "text": ["a", "b"]}
    assert conflicting_texts(table) == 1


@pytest.mark.parametrize(
    "text", ["70/20", "70/20/20", "100/0/0", "a/b/c", "70/10/20/0", "-1/1/100"]
)
def test_shares_that_do_not_add_up_are_refused(text):
    with pytest.raises(UsageError, match=text):
        Shares.parse(text)


def test_shares_are_read():
    assert Shares.parse("80/5/15") == Shares(80, 5, 15)


def test_too_few_messages_of_a_label_are_named():
    with pytest.raises(BadDataError, match="'spam', has 1") as caught:
        split(messages(50, 1), SHARES, 123, stratify=True)
    assert "`stratify=False`" in caught.value.hint


def test_too_few_messages_are_refused():
    with pytest.raises(BadDataError, match="too few"):
        split(messages(2, 1), SHARES, 123, stratify=False)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("0/0/100", "leaves nothing for train and validation"),
        ("100/0/0", "leaves nothing for validation and test"),
        ("70/10/30", "adds up to 110, not 100"),
        ("70/30", "is not three shares"),
        ("999/1/1", "adds up to 1001, not 100"),
    ],
)
def test_shares_that_cannot_be_are_told_what_is_wrong_with_them(text, problem):
    with pytest.raises(UsageError, match=rf"`split={text}` {problem}\."):
        Shares.parse(text)


@pytest.mark.parametrize("rare", [1, 2])
def test_a_label_with_too_few_messages_is_named_in_our_own_words(rare):
    with pytest.raises(BadDataError) as caught:
        split(messages(97, rare), SHARES, 1, stratify=True)
    assert caught.value.message == (
        f"{97 + rare} messages cannot be split so that every part has each of the 2 labels in "
        f"proportion. The rarest label, 'spam', has {rare}."
    )
