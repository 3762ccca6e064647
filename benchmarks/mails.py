"""Mails: of long ones few windows are read, against a reading of every window, half overlapping."""

import random
from collections.abc import Iterator

from benchmarks.world import World, fastest
from spamgpt.classifier.model import SpamClassifier
from spamgpt.data.batches import TokenizedMessages

MAILS = 600
SHORTEST, LONGEST = 300, 60_000
# How many windows of a mail the other reading takes at most.
MOST_WINDOWS = 64
# Of so many mails one is read in every window, which takes long.
SAMPLE = 6


def measure(world: World) -> Iterator[tuple[str, str]]:
    """Yields a figure's name and its value."""
    texts, classifier = mails(world.texts), SpamClassifier.bundled("cpu")
    classifier.predict_proba(texts[:SAMPLE])
    rate = MAILS / fastest(2, lambda: classifier.predict_proba(texts))
    yield f"{MAILS} mails of {SHORTEST} bytes to 60 kB, mini", f"{rate:,.0f} mails/s"
    some = texts[::SAMPLE]
    seconds = fastest(2, lambda: classifier.window_probabilities(_every_window(classifier, some)))
    every = len(some) / seconds
    yield "  every window (up to 64, half overlapping)", f"{every:,.0f} mails/s (from {len(some)})"
    yield "  few windows are faster by", f"{rate / every:.1f} times"


def mails(texts: list[str]) -> list[str]:
    """Texts made of messages, evenly spread over the logarithm of their length, in any order."""
    drawn = random.Random(1)
    found = []
    for number in range(MAILS):
        length = round(SHORTEST * (LONGEST / SHORTEST) ** (number / (MAILS - 1)))
        parts, size = [], 0
        while size < length:
            parts.append(drawn.choice(texts))
            size += len(parts[-1]) + 1
        found.append("\n".join(parts)[:length])
    drawn.shuffle(found)
    return found


def _every_window(classifier: SpamClassifier, texts: list[str]) -> TokenizedMessages:
    context = classifier.context
    windows = []
    for ids in classifier.tokenizer.encode(texts):
        starts = range(0, max(1, len(ids) - context // 2), context // 2)
        windows += [ids[start : start + context] for start in starts[:MOST_WINDOWS]]
    return TokenizedMessages(windows, [False] * len(windows))
