"""The pre-training corpus of `mini` holds no message of the SMS Spam Collection."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

CORPUS = Path(__file__).parents[2] / "shared" / "corpus"
# The model card in the package names what was trained on.
CARD = Path(__file__).parents[1] / "spamgpt" / "assets" / "mini" / "README.md"

# Letters and digits from which a message is looked for inside other texts as well.
LONG = 25
_NOT_ALPHANUMERIC = bytes(set(range(256)) - set(b"abcdefghijklmnopqrstuvwxyz0123456789"))


def normalized(text: str) -> bytes:
    """Lower case, ASCII letters and digits only."""
    return text.lower().encode("ascii", "ignore").translate(None, _NOT_ALPHANUMERIC)


def texts(source: Path) -> list[bytes]:
    with gzip.open(source, "rb") as lines:
        return [normalized(json.loads(line)["text"]) for line in lines]


def window_hashes(text: bytes) -> np.ndarray:
    """A hash of every run of LONG bytes, built up from runs of 1, 2, 4, 8, 16, and so on."""
    hashes = {1: np.frombuffer(text, np.uint8).astype(np.uint64)}

    def join(a: int, b: int) -> None:
        count = len(text) - a - b + 1
        factor = np.uint64(pow(1_000_003, b, 2**64))
        hashes[a + b] = hashes[a][:count] * factor + hashes[b][a : a + count]

    for length in (1, 2, 4, 8):
        join(length, length)
    join(16, 8)
    join(24, 1)
    return hashes[LONG]


def found_in(corpus: list[bytes], messages: set[bytes]) -> list[bytes]:
    """The messages that are a text of the corpus or, if they are LONG, inside one."""
    found = [text for text in corpus if text in messages]
    by_hash: dict[int, list[bytes]] = {}
    for message in messages:
        if len(message) >= LONG:
            by_hash.setdefault(int(window_hashes(message[:LONG])[0]), []).append(message)
    joined = b"\n".join(corpus)
    hashes = window_hashes(joined)
    for start in np.flatnonzero(np.isin(hashes, np.array(list(by_hash), dtype=np.uint64))):
        candidates = by_hash[int(hashes[start])]
        found += [m for m in candidates if joined.startswith(m, int(start))]
    return found


def test_the_comparison_finds_what_is_there():
    message = normalized("Free entry in 2 a wkly comp to win FA Cup final tkts!")
    assert found_in([b"other", b"x" + message + b"y", b"more" * 20], {message}) == [message]
    assert found_in([message[:-1], message[1:]], {message}) == []
    assert found_in([message[:30], message[30:]], {message}) == []
    assert found_in([b"short", b"xshort" * 9], {b"short"}) == [b"short"]


@pytest.mark.skipif(not CORPUS.exists(), reason="the corpus is not beside this checkout")
def test_no_message_of_the_collection_is_in_the_corpus_of_mini(sms_collection):
    lines = sms_collection.read_text(encoding="utf-8").split("\n")[:-1]
    messages = {normalized(line.split("\t", 1)[1]) for line in lines} - {b""}
    assert len(messages) > 5000
    card = CARD.read_text(encoding="utf-8")
    sources = [path for path in CORPUS.glob("*.jsonl.gz") if f"| {path.name[:-9]} |" in card]
    assert len(sources) == 22
    assert [found for source in sources for found in found_in(texts(source), messages)] == []
