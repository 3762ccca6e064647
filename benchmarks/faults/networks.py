"""Servers that stall, reset, lie, redirect, drip and never end: each gets one line, in time."""

import os
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from benchmarks.faults.commands import check, start
from benchmarks.faults.states import EMPTY, States
from benchmarks.faults.tally import LOST, UNANSWERED, Tally
from spamgpt.sources import datasets
from spamgpt.workspace import Workspace

TITLE = "Networks"
PROMISE = (
    "`fetch` of a data set from servers that stall, reset the connection, lie, redirect, drip and "
    "never end says in one line, in time, what is wrong, and leaves nothing half-made."
)
# The limits of `fetch`, so low that a try takes seconds; a try that takes this long hung.
LIMITS = {"_TIMEOUT": (1, 1), "_PATIENCE": 1, "LARGEST_DOWNLOAD": 10_000_000}
SLOWEST = 15.0
_OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/csv\r\n"
Behaviour = Callable[[socket.socket], None]


def run(tally: Tally, states: States, times: int, told: Callable[[], None]) -> None:
    """Fetches from every server, so many times."""
    for behave in [*BEHAVIOURS] * times:
        name = behave.__name__.replace("_", " ")
        tally.tried(name)
        with _in_another_process(behave) as url, states.copy(EMPTY) as folder:
            command = ("fetch", "--dataset", url, "--model", "tiny")
            done = start(*command, folder=folder, before=_hurry).done(SLOWEST)
            check(tally, name, done)
            if done.status != 5 or not done.is_told:
                tally.wrong(name, UNANSWERED, f"{done.status}: {done.err}")
            if Workspace(folder / "workspace").folders("datasets"):
                tally.wrong(name, LOST, "a data set was made of it")
        told()


@contextmanager
def serving(behave: Behaviour) -> Iterator[str]:
    """Serves every request in a thread by a function of the connection; gives the address."""
    listener = socket.create_server(("127.0.0.1", 0))

    def answer(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.recv(1 << 16)
            behave(connection)

    def listen() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=answer, args=[connection], daemon=True).start()

    threading.Thread(target=listen, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/data.csv"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


@contextmanager
def _in_another_process(behave: Behaviour) -> Iterator[str]:
    """As `serving`; this process stays without threads."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        with suppress(BaseException), serving(behave) as url:
            os.write(writing, url.encode())
            signal.pause()
        os._exit(0)
    try:
        yield os.read(reading, 1000).decode()
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(reading)
        os.close(writing)


def _hurry() -> None:
    os.environ["NO_PROXY"] = "127.0.0.1"
    for name, limit in LIMITS.items():
        setattr(datasets, name, limit)


def stalls(connection: socket.socket) -> None:
    """Sends a beginning, and then nothing."""
    connection.sendall(_OK + b"Content-Length: 99\r\n\r\nlabel,")
    time.sleep(20)


def resets(connection: socket.socket) -> None:
    """Breaks the connection off."""
    connection.sendall(_OK + b"Content-Length: 99\r\n\r\nlabel,")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def promises_more_than_it_sends(connection: socket.socket) -> None:
    """Ends before the length that it named."""
    connection.sendall(_OK + b"Content-Length: 99\r\n\r\nlabel,text\n")


def ends_within_a_chunk(connection: socket.socket) -> None:
    """Ends in the middle of a chunk."""
    connection.sendall(_OK + b"Transfer-Encoding: chunked\r\n\r\nff\r\nlabel,text\n")


def speaks_no_http(connection: socket.socket) -> None:
    """Is a mail server."""
    connection.sendall(b"220 mail.example.com ESMTP\r\n" * 3)


def redirects_to_itself(connection: socket.socket) -> None:
    """Sends one in circles."""
    connection.sendall(
        b"HTTP/1.1 302 Found\r\nLocation: /data.csv\r\nContent-Length: 0\r\n"
        b"Connection: close\r\n\r\n"
    )


def redirects_to_a_file(connection: socket.socket) -> None:
    """Points to a file of the machine that asks."""
    connection.sendall(
        b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n"
    )


def says_gzip_and_sends_none(connection: socket.socket) -> None:
    """Names an encoding that it does not use."""
    connection.sendall(_OK + b"Content-Encoding: gzip\r\nContent-Length: 10\r\n\r\nlabel,text")


def drips(connection: socket.socket) -> None:
    """Sends twenty bytes a second."""
    connection.sendall(_OK + b"Content-Length: 99999\r\n\r\n")
    while True:
        connection.sendall(b"l")
        time.sleep(0.05)


def drips_its_headers(connection: socket.socket) -> None:
    """Sends headers without end."""
    connection.sendall(_OK)
    for number in range(10_000):
        connection.sendall(f"X-{number}: x\r\n".encode())
        time.sleep(0.001)


def never_ends(connection: socket.socket) -> None:
    """Sends rows without end."""
    connection.sendall(_OK + b"\r\n")
    while True:
        connection.sendall(b"ham,see you\n" * 1000)


BEHAVIOURS: dict[Behaviour, str] = {
    stalls: "did not answer within",
    resets: "ended before|cannot be reached",
    promises_more_than_it_sends: "ended before",
    ends_within_a_chunk: "ended before",
    speaks_no_http: "cannot be reached|ended before",
    redirects_to_itself: "Exceeded 30 redirects",
    redirects_to_a_file: "No connection adapters",
    says_gzip_and_sends_none: "gzip",
    drips: "only .* bytes came in",
    drips_its_headers: "cannot be reached|ended before|more than 100 headers",
    never_ends: "larger than the 10,000,000 bytes",
}
