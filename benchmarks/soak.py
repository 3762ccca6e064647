"""serve for minutes under steady requests of every kind: how much memory it has meanwhile."""

import asyncio
import json
import re
import time
from collections.abc import Iterator
from itertools import count

from benchmarks.load import Served, http_request, mail_of, milliseconds, served
from benchmarks.processes import resident_bytes
from benchmarks.world import World
from spamgpt.classifier.predictor import MOST_REMEMBERED

CLIENTS = 32
# Requests before the first look. By then all texts that are remembered are, and oneDNN keeps
# compiled kernels for most shapes.
_WARM_UP = MOST_REMEMBERED
_PARTS = 10
# Of so many requests one asks for an explanation, which takes as long as dozens of answers.
_EXPLAINED = 70


def measure(world: World, requests: int, minutes: float) -> Iterator[tuple[str, str]]:
    """Yields a figure's name and its value."""
    texts = world.texts
    with served(world.folder, "--classifier", "bundled") as server:
        numbers = count()
        yield "serve, before the first request", _told(resident_bytes(server.pid))
        _send(server, texts, numbers, _WARM_UP, 0.0)
        first = resident_bytes(server.pid)
        yield f"  after {_WARM_UP:,} requests, the start", _told(first)
        waited: list[float] = []
        began = time.monotonic()
        for part in range(_PARTS):
            each = requests // _PARTS
            waited += _send(server, texts, numbers, each, 60 * minutes / _PARTS)
            done = f"{(part + 1) / _PARTS:.0%}, after {(time.monotonic() - began) / 60:.1f} minutes"
            yield f"  {done}", _told(resident_bytes(server.pid))
        yield "  grown", f"{resident_bytes(server.pid) / first - 1:.1%}"
        yield "  requests", f"{len(waited):,}, none refused"
        yield "  an answer takes, p50 and p99", milliseconds(waited)


def _send(
    server: Served, texts: list[str], numbers: "count[int]", requests: int, seconds: float
) -> list[float]:
    """The seconds of each answer to requests that are spread over so many seconds."""

    async def send() -> list[float]:
        began, waited = time.monotonic(), list[float]()
        places = iter(range(requests))

        async def client() -> None:
            for place in places:
                number = next(numbers)
                await asyncio.sleep(began + place * seconds / requests - time.monotonic())
                sent = time.monotonic()
                # None is a repeat: the same text is computed once.
                await _ask(server, f"{texts[number % len(texts)]} {number}", number)
                waited.append(time.monotonic() - sent)

        await asyncio.gather(*(client() for _ in range(CLIENTS)))
        return waited

    return asyncio.run(send())


async def _ask(server: Served, text: str, number: int) -> None:
    """A request of one of the kinds, in turn; raises RuntimeError if it is not answered."""
    explain = number % _EXPLAINED == 0
    mail = mail_of(text)
    head = b"Content-length: %d\r\n\r\n" % len(mail)
    message = {"role": "user", "content": text}
    port, request = [
        (server.http, _json("/v1/classify", {"texts": [text], "explain": explain})),
        (server.http, http_request("/v1/classify", mail, b"message/rfc822", close=True)),
        (server.http, http_request("/v1/classify/file?name=a.eml", mail, close=True)),
        (server.http, _json("/v1/chat/completions", {"messages": [message]})),
        (server.http, _json("/v1/feedback", {"text": text, "label": "spam"})),
        (server.spamd, b"CHECK SPAMC/1.5\r\n" + head + mail),
        (server.spamd, b"TELL SPAMC/1.5\r\nRemove: local\r\n" + head + mail),
    ][number % 7]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    answer = await reader.read()
    writer.close()
    if not re.match(rb"HTTP/1\.1 200 |SPAMD/1\.1 0 EX_OK", answer):
        raise RuntimeError(f"the server said {answer[:500]!r}")


def _json(path: str, value: object) -> bytes:
    return http_request(path, json.dumps(value).encode(), close=True)


def _told(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"
