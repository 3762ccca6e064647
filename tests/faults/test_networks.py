"""Servers that stall, reset, lie, redirect, drip and never end: each gets one line, in time."""

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from spamgpt.errors import IntegrityError, NetworkError
from spamgpt.reporting import SILENT
from spamgpt.sources import datasets

OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/csv\r\n"
Behaviour = Callable[[socket.socket], None]


@pytest.fixture
def serve() -> Iterator[Callable[[Behaviour], str]]:
    """Serves every request by a function of the connection; returns the address."""
    listeners = []

    def start(behave: Behaviour) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

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
        return f"http://127.0.0.1:{listener.getsockname()[1]}/data.csv"

    yield start
    for listener in listeners:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def stalls(connection: socket.socket) -> None:
    connection.sendall(OK + b"Content-Length: 99\r\n\r\nlabel,")
    time.sleep(20)


def resets(connection: socket.socket) -> None:
    connection.sendall(OK + b"Content-Length: 99\r\n\r\nlabel,")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def promises_more_than_it_sends(connection: socket.socket) -> None:
    connection.sendall(OK + b"Content-Length: 99\r\n\r\nlabel,text\n")


def ends_within_a_chunk(connection: socket.socket) -> None:
    connection.sendall(OK + b"Transfer-Encoding: chunked\r\n\r\nff\r\nlabel,text\n")


def speaks_no_http(connection: socket.socket) -> None:
    connection.sendall(b"220 mail.example.com ESMTP\r\n" * 3)


def redirects_to_itself(connection: socket.socket) -> None:
    connection.sendall(
        b"HTTP/1.1 302 Found\r\nLocation: /data.csv\r\nContent-Length: 0\r\n"
        b"Connection: close\r\n\r\n"
    )


def redirects_to_a_file(connection: socket.socket) -> None:
    connection.sendall(
        b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n"
    )


def says_gzip_and_sends_none(connection: socket.socket) -> None:
    connection.sendall(OK + b"Content-Encoding: gzip\r\nContent-Length: 10\r\n\r\nlabel,text")


def drips(connection: socket.socket) -> None:
    connection.sendall(OK + b"Content-Length: 99999\r\n\r\n")
    while True:
        connection.sendall(b"l")
        time.sleep(0.05)


def drips_its_headers(connection: socket.socket) -> None:
    connection.sendall(OK)
    for number in range(10_000):
        connection.sendall(f"X-{number}: x\r\n".encode())
        time.sleep(0.001)


def never_ends(connection: socket.socket) -> None:
    connection.sendall(OK + b"\r\n")
    while True:
        connection.sendall(b"ham,see you\n" * 1000)


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        (stalls, "did not answer within"),
        (resets, "ended before|cannot be reached"),
        (promises_more_than_it_sends, "ended before"),
        (ends_within_a_chunk, "ended before"),
        (speaks_no_http, "cannot be reached|ended before"),
        (redirects_to_itself, "Exceeded 30 redirects"),
        (redirects_to_a_file, "No connection adapters"),
        (says_gzip_and_sends_none, "gzip"),
        (drips, "only .* bytes came in"),
        (drips_its_headers, "cannot be reached|ended before|more than 100 headers"),
        (never_ends, "larger than the 10,000,000 bytes"),
    ],
)
def test_a_bad_server_gets_one_line_in_time(tmp_path, monkeypatch, serve, behaviour, reason):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(datasets, "_TIMEOUT", (1, 1))
    monkeypatch.setattr(datasets, "_PATIENCE", 1)
    monkeypatch.setattr(datasets, "LARGEST_DOWNLOAD", 10_000_000)
    began = time.monotonic()
    with pytest.raises((NetworkError, IntegrityError), match=reason) as caught:
        datasets.obtain_dataset(serve(behaviour), tmp_path, SILENT)
    assert time.monotonic() - began < 15
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 300
