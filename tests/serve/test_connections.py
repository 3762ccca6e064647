"""Clients that are slow, that never end, that do not read, that are too many."""

import asyncio
import json
import re
import select
import socket
import time
from contextlib import ExitStack
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from spamgpt.serve.bodies import read_lines
from spamgpt.serve.classify import _answer_lines
from spamgpt.serve.connections import _Gathering
from spamgpt.serve.limits import Limits, Room
from spamgpt.serve.service import Service

TIMEOUT = 0.6
LINES = b"content-type: application/x-ndjson\r\n"
HEAD = b"POST /v1/classify HTTP/1.1\r\nhost: x\r\n"


@pytest.fixture(scope="module")
def strict(start):
    return start(timeout=TIMEOUT, max_connections=20, max_client_connections=10)


def status_of(answer: bytes) -> int | None:
    """The status of an answer, whose body is JSON that says why; None for no answer."""
    if not answer:
        return None
    head, _, body = answer.partition(b"\r\n\r\n")
    assert json.loads(body)["error"]["message"]
    return int(re.match(rb"HTTP/1.1 (\d+)", head)[1])


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"", None),
        (b"GET / HT", 408),
        (HEAD, 408),
        (HEAD + b"content-type: text/plain\r\ncontent-length: 9\r\n\r\nabc", 408),
        (HEAD + b"content-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc", 408),
        (HEAD + b"content-length: 9\r\n\r\nabc", 415),
        (b"GET / HTTP/9\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01", 400),
        (b"PING SPAMC/1.5\r\n\r\n", 400),
        (HEAD + b"content-length: 1\r\ncontent-length: 2\r\n\r\nx", 400),
        (HEAD + b"content-length: -1\r\n\r\n", 400),
        (b"GET /\xff HTTP/1.1\r\n\r\n", 400),
    ],
)
def test_what_stops_or_is_no_request_is_ended_in_time(strict, data, status):
    began = time.monotonic()
    assert status_of(strict.raw(data)) == status
    assert time.monotonic() - began < 20 * TIMEOUT


@pytest.mark.parametrize(
    "endless",
    [
        b"a: b\r\n",
        b"a" * 1000,
        HEAD + LINES + b"transfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\na: b\r\n",
    ],
    ids=["lines", "one line", "trailers"],
)  # fmt: skip
def test_headers_that_never_end_are_cut_off(strict, endless):
    client = socket.create_connection(("127.0.0.1", strict.http), timeout=20)
    with client, pytest.raises(OSError, match=r"reset|Broken pipe"):
        client.sendall(endless if endless.startswith(HEAD) else HEAD + endless)
        for _ in range(200_000):
            client.sendall(endless[-1000:] if endless[0] == 97 else b"a: b\r\n" * 100)


def test_a_stream_without_lines_is_ended_in_time(strict):
    answer = strict.raw(HEAD + LINES + b"transfer-encoding: chunked\r\n\r\n")
    assert b'"type": "too_slow"' in answer
    assert answer.startswith(b"HTTP/1.1 200")


def test_a_line_that_never_ends_is_refused(start):
    server = start(max_body=10_000)
    answer = server.post("/v1/classify", b'{"text": "' + b"x" * 50_000, "application/x-ndjson")
    assert json.loads(answer.text)["error"]["type"] == "too_large"


def test_a_client_that_does_not_read_is_let_go(strict):
    row = json.dumps({"text": "see you", "more": "x" * 100_000}).encode() + b"\n"
    with socket.create_connection(("127.0.0.1", strict.http), timeout=20) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.sendall(HEAD + LINES + b"transfer-encoding: chunked\r\n\r\n")
        with pytest.raises(OSError, match=r"reset|Broken pipe|timed out"):
            for _ in range(2_000):
                client.sendall(b"%x\r\n%s\r\n" % (len(row), row))


def test_a_refused_body_may_not_come_for_ever(strict):
    with socket.create_connection(("127.0.0.1", strict.http), timeout=20) as client:
        client.sendall(HEAD + b"content-length: 1000000000\r\ncontent-type: text/plain\r\n\r\n")
        assert client.recv(65536).startswith(b"HTTP/1.1 413")
        began = time.monotonic()
        with pytest.raises(OSError, match=r"reset|Broken pipe"):
            while True:
                client.sendall(b"x")
                time.sleep(0.01)
        assert time.monotonic() - began < 20 * TIMEOUT


def test_what_waits_too_long_for_an_answer_is_told(start, monkeypatch):
    server = start(timeout=0.2)
    predictor = server.service.serving.predictor
    real = predictor.predict
    monkeypatch.setattr(predictor, "predict", lambda texts: (time.sleep(0.6), real(texts))[1])
    response = server.post("/v1/classify", "see you", "text/plain")
    assert response.status_code == 503
    assert int(response.headers["retry-after"]) > 0
    assert "longer than 0.2 seconds" in response.json()["error"]["message"]
    said = server.raw(b"CHECK SPAMC/1.5\r\nContent-length: 2\r\n\r\nhi", server.spamd)
    assert said.startswith(b"SPAMD/1.1 75 EX_TEMPFAIL ")


def test_one_client_cannot_take_all_connections(start):
    server = start(max_connections=20, max_client_connections=5)
    with ExitStack() as stack:
        for port in [server.http] * 3 + [server.spamd] * 2:
            stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        time.sleep(0.2)
        answer = server.raw(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        assert status_of(answer) == 429
        assert b"retry-after: 1\r\n" in answer
        assert server.raw(b"PING SPAMC/1.5\r\n\r\n", server.spamd).startswith(b"SPAMD/1.1 75 ")
    time.sleep(0.2)
    assert server.get("/healthz").status_code == 200


def test_more_connections_than_there_may_be_are_refused(start):
    server = start(max_connections=3, max_client_connections=5)
    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(socket.create_connection(("127.0.0.1", server.http)))
        time.sleep(0.2)
        assert status_of(server.raw(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")) == 503


def test_more_large_requests_than_there_is_room_for_are_refused(start):
    server = start(max_body=100_000, timeout=3)
    head = HEAD + b"content-type: text/plain\r\ncontent-length: 100000\r\n\r\n"
    with ExitStack() as stack:
        for _ in range(8):
            client = socket.create_connection(("127.0.0.1", server.http))
            stack.enter_context(client)
            client.sendall(head + b"x" * 99_999)
        time.sleep(0.5)
        response = server.post("/v1/classify", "x" * 1_000, "text/plain")
        assert response.status_code == 503
        assert "large requests" in response.json()["error"]["message"]
    time.sleep(0.5)
    assert server.post("/v1/classify", "see you", "text/plain").status_code == 200


@pytest.mark.parametrize(
    "data",
    [b"", b"CHECK", b"CHECK SPAMC/1.5\r\n", b"CHECK SPAMC/1.5\r\nContent-length: 9\r\n\r\nabc"],
)
def test_a_mail_program_that_stops_is_told(strict, data):
    assert strict.raw(data, strict.spamd).startswith(b"SPAMD/1.1 79 EX_TIMEOUT ")


def test_a_mail_program_that_does_not_read_is_let_go(start):
    server = start(timeout=TIMEOUT, max_client_connections=1)
    mail = b"Subject: x\nContent-Type: application/zip\n\n" + b"x\n" * 3_000_000
    ping = b"PING SPAMC/1.5\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.spamd), timeout=20) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.sendall(b"PROCESS SPAMC/1.5\r\nContent-length: %d\r\n\r\n" % len(mail) + mail)
        assert server.raw(ping, server.spamd).startswith(b"SPAMD/1.1 75 ")
        deadline = time.monotonic() + 60 * TIMEOUT
        while not (said := server.raw(ping, server.spamd)).startswith(b"SPAMD/1.5 0 PONG"):
            assert said.startswith(b"SPAMD/1.1 75 ")
            assert time.monotonic() < deadline
            time.sleep(TIMEOUT)


def test_a_client_cannot_have_any_number_of_requests_wait(strict):
    many = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n" * 3_000
    assert strict.raw(many).count(b"HTTP/1.1 200") < 3_000
    some = many[: 40 * (len(many) // 3_000)] + b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n"
    assert strict.raw(some).count(b"HTTP/1.1 200") == 41


def test_a_line_that_drips_is_ended_in_time_and_lines_that_come_slowly_are_answered(strict):
    head = HEAD + LINES + b"transfer-encoding: chunked\r\n\r\n"
    lines = [b'{"text": "see', b' you"}\n'] * 4
    for pieces, most in ((lines, None), ([b" "] * 200, 20 * TIMEOUT)):
        began = time.monotonic()
        with socket.create_connection(("127.0.0.1", strict.http), timeout=20) as client:
            client.sendall(head)
            client.settimeout(TIMEOUT / 3)
            said = b""
            for piece in pieces:
                client.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
                try:
                    said += client.recv(65536)
                except TimeoutError:
                    continue
                if b"too_slow" in said:
                    break
            if most is None:
                assert said.count(b'"label"') == 4
            else:
                assert b"too_slow" in said
                assert time.monotonic() - began < most


def unread(port: int, request: bytes) -> int:
    """How many bytes come for a request to a client that reads only when the time is over."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(request)
        select.select([client], [], [], 20)  # until the answer begins
        time.sleep(3 * TIMEOUT)
        count = 0
        try:
            while piece := client.recv(65536):
                count += len(piece)
        except ConnectionError:
            pass
        return count


@pytest.mark.parametrize("protocol", ["http", "spamd"])
def test_a_client_that_leaves_the_end_of_an_answer_unread_is_let_go(strict, protocol):
    def request(size: int) -> bytes:
        if protocol == "spamd":
            mail = b"Subject: x\nContent-Type: application/zip\n\n".ljust(size, b"\n")
            return b"PROCESS SPAMC/1.5\r\nContent-length: %d\r\n\r\n" % len(mail) + mail
        row = json.dumps({"text": "see you", "more": "x" * size}).encode()
        return HEAD + LINES + b"content-length: %d\r\n\r\n%s" % (len(row), row)

    port = getattr(strict, protocol)
    # What the system takes of an answer; behind it there is less than asyncio calls much.
    taken = unread(port, request(7_000_000))
    assert taken < 7_000_000
    assert unread(port, request(taken + 30_000)) < taken + 30_000


def test_a_stream_whose_answers_nobody_takes_is_not_read_on(server):
    limits = Limits(max_body=100_000)
    line = json.dumps({"text": "see you", "more": "x" * 90_000}).encode() + b"\n"
    read = 0

    async def receive() -> dict[str, object]:
        nonlocal read
        read += 1
        return {"type": "http.request", "body": line, "more_body": read < 200}

    async def answered() -> int:
        service = Service(server.service.serving, limits)
        try:
            scope = {"type": "http", "headers": [], "query_string": b""}
            with service.room.seat() as seat:
                answers = _answer_lines(Request(scope, receive), service, seat)
                await anext(answers)
                await asyncio.sleep(0.2)
                assert read < 5
                count = 1
                async for answer in answers:
                    assert b'"label"' in answer
                    count += 1
                assert seat.taken == 0
            return count
        finally:
            await asyncio.to_thread(service.close)

    assert asyncio.run(answered()) == 200


@given(st.binary(max_size=200).map(lambda data: data.replace(b"\0", b"\n")), st.data())
def test_lines_are_the_same_however_they_come(body, data):
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=9)))
    pieces = [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}

    async def lines() -> list[bytes]:
        with Room(Limits()).seat() as seat:
            request = Request({"type": "http", "headers": []}, receive)
            found = [line async for line in read_lines(request, Limits(), seat)]
            assert seat.taken == len(body)
            return found

    assert asyncio.run(lines()) == [line + b"\n" for line in body.split(b"\n")[:-1]] + [
        rest for rest in body.split(b"\n")[-1:] if rest
    ]


def test_what_is_written_together_is_sent_as_one_piece():
    sent = []
    below = SimpleNamespace(
        write=sent.append, close=lambda: sent.append("closed"), is_closing=lambda: False
    )

    async def answer():
        transport = _Gathering(below, asyncio.get_running_loop())
        transport.write(b"head")
        transport.write(b"body")
        assert sent == []
        await asyncio.sleep(0)
        transport.write(b"last")
        assert not transport.is_closing()
        transport.close()
        await asyncio.sleep(0)

    asyncio.run(answer())
    assert sent == [b"headbody", b"last", "closed"]
