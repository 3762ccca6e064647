"""The bundled messages: written for this project, none like another, none from the collection."""

import re
from collections import defaultdict
from pathlib import Path

import pytest

import spamgpt
from spamgpt.data.tables import read_labelled_file

FILE = Path(spamgpt.__file__).parent / "assets" / "messages.csv"


@pytest.fixture(scope="module")
def messages():
    return read_labelled_file(FILE)


def trigrams(text: str) -> set[tuple[str, ...]]:
    words = re.findall(r"\w+", text.lower())
    return set(zip(words, words[1:], words[2:], strict=False)) or {tuple(words)}


def letters(text: str) -> str:
    return re.sub(r"[\W_]", "", text.lower())


def test_there_are_many_and_two_in_five_are_spam(messages):
    assert len(messages) >= 1200
    assert 0.35 < (messages["label"] == "spam").mean() < 0.45
    assert messages["kind"].nunique() > 50


def test_no_two_share_more_than_half_of_their_word_trigrams(messages):
    seen: dict[tuple[str, ...], list[int]] = defaultdict(list)
    all_trigrams = [trigrams(text) for text in messages["text"]]
    for index, own in enumerate(all_trigrams):
        shared: dict[int, int] = defaultdict(int)
        for trigram in own:
            for earlier in seen[trigram]:
                shared[earlier] += 1
            seen[trigram].append(index)
        for earlier, count in shared.items():
            fewer = min(len(own), len(all_trigrams[earlier]))
            assert count / fewer <= 0.5, messages["text"].iloc[[earlier, index]].tolist()


def test_addresses_are_of_domains_that_nobody_owns(messages):
    addresses = re.compile(r"(?:https?://|www\.)(\S+)")
    for text in messages["text"]:
        for address in addresses.findall(text):
            assert re.match(r"[\w.-]+\.example\b", address), text


def test_none_is_of_the_sms_spam_collection(messages, sms_collection):
    lines = sms_collection.read_text(encoding="utf-8").split("\n")[:-1]
    collection = {letters(line.split("\t", 1)[1]) for line in lines}
    own = {letters(text) for text in messages["text"]}
    # Very short talk ("ok", "on my way") is everybody's.
    assert not {text for text in own & collection if len(text) > 20}
