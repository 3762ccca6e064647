"""Scaling: time and memory of prediction against the number and the length of messages, and what
a busy process beside it leaves of its speed.
"""

import subprocess
import sys
from collections.abc import Iterator

from benchmarks.world import World, fastest, spamgpt
from spamgpt.classifier.model import SpamClassifier

COUNTS = (1_000, 10_000, 100_000)
WORDS = (5, 20, 80)
# Messages that are computed beside a busy process.
BESIDE = {"mini": 2_000, "gpt2": 200}


def measure(world: World) -> Iterator[tuple[str, str]]:
    """Yields a figure's name and its value: straight lines are expected, and flat memory."""
    world.make_classifier()
    for count in COUNTS:
        # By mini: gpt2 would take minutes more for the same straight line.
        yield f"{count:,} messages, mini", _figures(world, count, None, "--classifier", "bundled")
    for words in WORDS:
        yield f"1,000 messages of {words} words, gpt2", _figures(world, 1_000, words)
    for name, count in BESIDE.items():
        classifier = (
            SpamClassifier.bundled("cpu")
            if name == "mini"
            else SpamClassifier.from_pretrained(world.folder / "workspace", device="cpu")
        )
        texts = world.write_lines(count).read_text(encoding="utf-8").splitlines()
        yield f"beside one busy process, {name}", _beside(classifier, texts)


def _beside(classifier: SpamClassifier, texts: list[str]) -> str:
    def rate() -> float:
        return len(texts) / fastest(3, lambda: classifier.predict_proba(texts))

    alone = rate()
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as neighbour:
        try:
            beside = rate()
        finally:
            neighbour.kill()
    return f"{beside:,.0f} messages/s, {beside / alone:.0%} of what it does alone ({alone:,.0f})"


def _figures(world: World, count: int, words: int | None, *options: str) -> str:
    lines = world.write_lines(count, words)
    run = spamgpt("predict", *options, folder=world.folder, stdin=lines)
    return (
        f"{run.seconds:,.1f} s, {1e3 * run.seconds / count:.2f} ms each, "
        f"{run.peak_bytes / 1e9:.2f} GB at most"
    )
