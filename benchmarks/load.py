"""Clients that ask a server all at once, and a running `spamgpt serve`."""

import asyncio
import json
import math
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

CLIENTS = 64
# A client asks about the texts that are left, one after another, and adds what each answer took.
Client = Callable[[int, Iterator[str], list[float]], Awaitable[None]]


def load(
    client: Client, port: int, texts: Sequence[str], clients: int
) -> tuple[list[float], float]:
    """The seconds of each answer to as many clients, and of all of them together."""

    async def ask() -> list[float]:
        waiting, seconds = iter(texts), list[float]()
        await asyncio.gather(*(client(port, waiting, seconds) for _ in range(clients)))
        return seconds

    began = time.perf_counter()
    return asyncio.run(ask()), time.perf_counter() - began


def under_load(port: int, texts: Sequence[str], seconds: float) -> tuple[float, str]:
    """Messages a second of CLIENTS programs that ask all the time, and what each waits.

    They ask for about so many seconds, through wrk: that takes hardly any of the cores that server
    and clients share. Where it is not installed, they ask about each text once, in Python.
    """
    if not wrk():
        waited, took = load(over_http, port, texts, CLIENTS)
        return len(texts) / took, milliseconds(waited)
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as bodies:
        bodies.writelines(
            json.dumps({"texts": [text]}).removesuffix('"]}') + "\n" for text in texts
        )
        bodies.flush()
        command = [wrk(), "-t1", f"-c{CLIENTS}", f"-d{math.ceil(seconds)}s", "--timeout", "30s"]
        script = ["-s", str(Path(__file__).with_name("single_messages.lua"))]
        target = [f"http://127.0.0.1:{port}", "--", bodies.name]
        done = subprocess.run([*command, *script, *target], capture_output=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    if found["errors"]:
        raise RuntimeError(f"{found['errors']} requests were not answered")
    return found["rate"], _milliseconds(found["p50"], found["p99"])


def wrk() -> str:
    """The program of that name; empty where it is not installed."""
    return shutil.which("wrk") or ""


async def over_http(port: int, waiting: Iterator[str], seconds: list[float]) -> None:
    """A program: JSON, on a connection that it keeps."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for text in waiting:
        request = http_request("/v1/classify", json.dumps({"texts": [text]}).encode())
        began = time.perf_counter()
        writer.write(request)
        answer = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", answer)
        if not answer.startswith(b"HTTP/1.1 200") or length is None:
            raise RuntimeError(f"the server said {answer!r}")
        await reader.readexactly(int(length[1]))
        seconds.append(time.perf_counter() - began)
    writer.close()


async def over_spamd(port: int, waiting: Iterator[str], seconds: list[float]) -> None:
    """A mail server that asks spamd: a connection for each mail."""
    for text in waiting:
        mail = mail_of(text)
        head = b"CHECK SPAMC/1.5\r\nContent-length: %d\r\n\r\n" % len(mail)
        await _exchange(port, head + mail, rb"SPAMD/1\.\d 0 EX_OK\r\n(?s:.*)Spam: ", seconds)


async def over_rspamd(port: int, waiting: Iterator[str], seconds: list[float]) -> None:
    """A mail server that asks rspamd: a connection for each mail."""
    for text in waiting:
        request = http_request("/checkv2", mail_of(text), b"message/rfc822", close=True)
        await _exchange(port, request, rb'HTTP/1\.1 200 (?s:.*)"symbols"', seconds)


async def _exchange(port: int, request: bytes, expected: bytes, seconds: list[float]) -> None:
    began = time.perf_counter()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    answer = await reader.read()
    writer.close()
    if not re.match(expected, answer):
        raise RuntimeError(f"the server said {answer[:500]!r}")
    seconds.append(time.perf_counter() - began)


def http_request(
    path: str, body: bytes, kind: bytes = b"application/json", close: bool = False
) -> bytes:
    """The bytes of a POST."""
    head = b"POST %s HTTP/1.1\r\nhost: localhost\r\ncontent-type: %s\r\n" % (path.encode(), kind)
    head += b"connection: close\r\n" * close
    return head + b"content-length: %d\r\n\r\n" % len(body) + body


def mail_of(text: str) -> bytes:
    """A message as a mail: its first words are the subject."""
    subject = " ".join(text.split()[:6]).encode("ascii", "ignore").decode()
    return (
        f"From: a@b.example\r\nTo: zoe@mail.example\r\nSubject: {subject}\r\n"
        "Date: Fri, 27 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@b.example>\r\n"
        "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
        f"Content-Transfer-Encoding: 8bit\r\n\r\n{text}\r\n"
    ).encode()


def milliseconds(seconds: Sequence[float]) -> str:
    """p50 and p99, as a cell of a table."""
    return _milliseconds(statistics.median(seconds), statistics.quantiles(seconds, n=100)[-1])


def _milliseconds(p50: float, p99: float) -> str:
    return f"{p50 * 1e3:.1f} ms, {p99 * 1e3:.1f} ms"


@dataclass(frozen=True)
class Served:
    """A running `spamgpt serve`: its process and its ports."""

    pid: int
    http: int
    spamd: int


@contextmanager
def served(folder: Path, *options: str) -> Iterator[Served]:
    """Runs `spamgpt serve` in a folder."""
    executable = Path(sys.executable).with_name("spamgpt")
    command = [str(executable), "serve", "--port", "0", "--spamd", "127.0.0.1:0", *options]
    with running(command, folder, {"COLUMNS": "200"}) as (process, log):
        ports: list[str] = []
        while len(ports) < 2:
            if process.poll() is not None:
                raise RuntimeError(log.read_text())
            time.sleep(0.05)
            ports = re.findall(r"Listening on \D*127\.0\.0\.1:(\d+)", log.read_text())
        yield Served(process.pid, *map(int, ports))


@contextmanager
def running(
    command: Sequence[str], folder: Path, environment: dict[str, str]
) -> Iterator[tuple["subprocess.Popen[bytes]", Path]]:
    """A daemon that runs in the foreground, and the file with what it says."""
    log = folder / f"{Path(command[0]).name}.log"
    with log.open("w") as file:
        process = subprocess.Popen(
            command, stdout=file, stderr=file, cwd=folder, env={**os.environ, **environment}
        )
    try:
        yield process, log
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
