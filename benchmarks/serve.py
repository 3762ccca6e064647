"""serve: its throughput beside `predict` on the same messages, how long one client waits, and how
spamd and rspamd do on the same mails."""

import statistics
import time
from collections.abc import Iterator

from benchmarks import filters
from benchmarks.load import CLIENTS, load, milliseconds, over_http, served, under_load, wrk
from benchmarks.world import World, spamgpt
from spamgpt.classifier.model import SpamClassifier
from spamgpt.classifier.predictor import Predictor

# Of the bundled classifier and of one of gpt2's shape; predict shares the work of the bundled one
# among processes from some thousand messages on.
MESSAGES = {"bundled": 20_000, "v1": 1_200}
ALONE = 100
# Seconds of load before the one that counts: further processes of the classifier begin in them.
WARM_UP = 15
_AT_ONCE = 256


def measure(world: World) -> Iterator[tuple[str, str]]:
    """Yields a figure's name and its value."""
    world.make_classifier()
    for name, count in MESSAGES.items():
        yield from _measure(world, name, count)
    yield from filters.measure(world, tuple(MESSAGES))


def _measure(world: World, name: str, count: int) -> Iterator[tuple[str, str]]:
    lines = world.write_lines(count)
    texts = lines.read_text(encoding="utf-8").splitlines()
    chosen = ("--classifier", name)
    predictor = _predictor(world, name)
    before = _predict_seconds(world, name, count)
    one = _rate(predictor, texts)
    with served(world.folder, *chosen) as server:
        # As long as predict takes for all; first with texts of their own, until all processes run.
        under_load(server.http, [f"{text} before" for text in texts], WARM_UP)
        of_clients, waited = under_load(server.http, texts, before[0])
        # Texts that it has not seen: the same text is computed once.
        alone, _ = load(over_http, server.http, [f"{text} again" for text in texts[:ALONE]], 1)
    model = _alone(predictor, [f"{text} once more" for text in texts[:ALONE]])
    # A machine is not as fast in one minute as in another.
    after = _predict_seconds(world, name, count)
    whole, running = (sum(each) / 2 for each in zip(before, after, strict=True))
    how = "in wrk" if wrk() else "in Python: wrk is not installed"
    yield f"spamgpt predict, {name}, {count:,} messages", f"{count / whole:,.0f} messages/s"
    yield "  once it runs", f"{count / running:,.0f} messages/s"
    yield "  one process of it", f"{one:,.0f} messages/s"
    yield (
        f"  serve, {CLIENTS} clients with one message each ({how})",
        f"{of_clients:,.0f} messages/s",
    )
    yield "    of predict's rate", f"{of_clients / (count / whole):.0%}"
    yield "    of its rate once it runs", f"{of_clients / (count / running):.0%}"
    yield "    an answer takes, p50 and p99", waited
    yield "  one client, p50 and p99", milliseconds(alone)
    p50, of_model = statistics.median(alone), statistics.median(model)
    yield "    the model's own time, p50", f"{of_model * 1e3:.1f} ms"
    yield "    more than 1.5 times that by", f"{(p50 - 1.5 * of_model) * 1e3:.1f} ms"


def _predict_seconds(world: World, name: str, count: int) -> tuple[float, float]:
    """What predict takes for so many messages, and without its start and the loading of torch."""
    fewer = count // 3
    seconds = [
        spamgpt("predict", "--classifier", name, folder=world.folder, stdin=lines).seconds
        for lines in map(world.write_lines, (fewer, count))
    ]
    return seconds[1], (seconds[1] - seconds[0]) * count / (count - fewer)


def _predictor(world: World, name: str) -> Predictor:
    if name == "bundled":
        return Predictor(SpamClassifier.bundled())
    return Predictor(SpamClassifier.from_pretrained(world.folder / "workspace", name))


def _rate(predictor: Predictor, texts: list[str]) -> float:
    """Messages a second of this process, with all of its threads."""
    predictor.predict(texts[:_AT_ONCE])
    began = time.perf_counter()
    for start in range(_AT_ONCE, len(texts), _AT_ONCE):
        predictor.predict(texts[start : start + _AT_ONCE])
    return (len(texts) - _AT_ONCE) / (time.perf_counter() - began)


def _alone(predictor: Predictor, texts: list[str]) -> list[float]:
    """The seconds that the model takes for each text, without a server."""
    seconds = []
    for text in texts:
        began = time.perf_counter()
        predictor.predict([text])
        seconds.append(time.perf_counter() - began)
    return seconds
