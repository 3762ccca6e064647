"""serve: its throughput beside `predict` on the same messages, and how long one client waits."""

import asyncio
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.world import World, spamgpt
from spamgpt.classifier.model import SpamClassifier
from spamgpt.classifier.predictor import Predictor

CLIENTS = 64
# Of the bundled classifier and of one of gpt2's shape.
MESSAGES = {"bundled": 6_000, "v1": 1_200}
ALONE = 100


def measure(world: World) -> Iterator[tuple[str, str]]:
    """Yields a figure's name and its value."""
    world.make_classifier()
    for name, count in MESSAGES.items():
        yield from _measure(world, name, count)


def _measure(world: World, name: str, count: int) -> Iterator[tuple[str, str]]:
    lines = world.write_lines(count)
    texts = lines.read_text(encoding="utf-8").splitlines()
    chosen = ("--classifier", name)
    few = world.write_lines(ALONE)
    # What predict needs to start is no part of its rate.
    start = spamgpt("predict", *chosen, folder=world.folder, stdin=few).seconds
    whole = spamgpt("predict", *chosen, folder=world.folder, stdin=lines).seconds
    rate = (count - ALONE) / (whole - start)
    yield f"spamgpt predict, {name}, once it runs", f"{rate:,.0f} messages/s"

    with _served(world, *chosen) as port:
        asyncio.run(_ask(port, texts[:CLIENTS], CLIENTS))
        began = time.perf_counter()
        waited = asyncio.run(_ask(port, texts, CLIENTS))
        served = count / (time.perf_counter() - began)
        yield f"  serve, {CLIENTS} clients with one message each", f"{served:,.0f} messages/s"
        yield "    of predict's rate", f"{served / rate:.0%}"
        yield "    an answer takes, p50 and p99", _milliseconds(waited)
        # Texts that it has not seen: the same text is computed once.
        new = [f"{text} again" for text in texts[:ALONE]]
        alone = asyncio.run(_ask(port, new, 1))
    model = _alone(world, name, [f"{text} once more" for text in texts[:ALONE]])
    yield "  one client, p50 and p99", _milliseconds(alone)
    p50, of_model = statistics.median(alone), statistics.median(model)
    yield "    the model's own time, p50", f"{of_model * 1e3:.1f} ms"
    yield "    more than 1.5 times that by", f"{(p50 - 1.5 * of_model) * 1e3:.1f} ms"


async def _ask(port: int, texts: list[str], clients: int) -> list[float]:
    """Every text in a request of its own, from so many clients; the seconds of each answer."""
    waiting = iter(texts)
    seconds: list[float] = []

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for text in waiting:
            body = json.dumps({"texts": [text]}).encode()
            head = b"POST /v1/classify HTTP/1.1\r\nhost: localhost\r\n"
            head += b"content-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
            began = time.perf_counter()
            writer.write(head + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", answer)
            if not answer.startswith(b"HTTP/1.1 200") or length is None:
                raise RuntimeError(f"the server said {answer!r}")
            await reader.readexactly(int(length[1]))
            seconds.append(time.perf_counter() - began)
        writer.close()

    await asyncio.gather(*(client() for _ in range(clients)))
    return seconds


def _alone(world: World, name: str, texts: list[str]) -> list[float]:
    """The seconds that the model takes for each text, without a server."""
    found = (
        SpamClassifier.bundled()
        if name == "bundled"
        else SpamClassifier.from_pretrained(world.folder / "workspace", name)
    )
    predictor = Predictor(found)
    predictor.predict(texts[:1])
    seconds = []
    for text in texts[1:]:
        began = time.perf_counter()
        predictor.predict([text])
        seconds.append(time.perf_counter() - began)
    return seconds


@contextmanager
def _served(world: World, *options: str) -> Iterator[int]:
    """A running server's port."""
    log = world.folder / "serve.log"
    executable = Path(sys.executable).with_name("spamgpt")
    with log.open("w") as file:
        process = subprocess.Popen(
            [executable, "serve", "--port", "0", *options],
            stderr=file,
            cwd=world.folder,
            env={**os.environ, "COLUMNS": "200"},
        )
    try:
        while not (found := re.search(r"Listening on http://127\.0\.0\.1:(\d+)", log.read_text())):
            if process.poll() is not None:
                raise RuntimeError(log.read_text())
            time.sleep(0.05)
        yield int(found[1])
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def _milliseconds(seconds: list[float]) -> str:
    p50, p99 = statistics.median(seconds), statistics.quantiles(seconds, n=100)[-1]
    return f"{p50 * 1e3:.1f} ms, {p99 * 1e3:.1f} ms"
