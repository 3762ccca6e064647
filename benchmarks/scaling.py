"""Scaling: time and memory of prediction against the number and the length of messages."""

from collections.abc import Iterator

from benchmarks.world import World, spamgpt

COUNTS = (1_000, 10_000, 100_000)
WORDS = (5, 20, 80)


def measure(world: World) -> Iterator[tuple[str, str]]:
    """Yields a figure's name and its value: straight lines are expected, and flat memory."""
    world.make_classifier()
    for count in COUNTS:
        # By mini: gpt2 would take minutes more for the same straight line.
        yield f"{count:,} messages, mini", _figures(world, count, None, "--classifier", "bundled")
    for words in WORDS:
        yield f"1,000 messages of {words} words, gpt2", _figures(world, 1_000, words)


def _figures(world: World, count: int, words: int | None, *options: str) -> str:
    lines = world.write_lines(count, words)
    run = spamgpt("predict", *options, folder=world.folder, stdin=lines)
    return (
        f"{run.seconds:,.1f} s, {1e3 * run.seconds / count:.2f} ms each, "
        f"{run.peak_bytes / 1e9:.2f} GB at most"
    )
