"""Random and damaged requests, for HTTP and for spamd, and what they may be answered with."""

import gzip
import json
import random
import re
import socket
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress

TEXT = json.dumps({"texts": ["WIN a prize", "see you"], "explain": False}).encode()
CHAT = json.dumps({"messages": [{"role": "user", "content": "WIN a prize"}]}).encode()
MAIL = (
    b"From: a@b.example\r\nSubject: =?utf-8?b?V0lO?=\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/html\r\n\r\n"
    b"<p>call <b>now</b></p>\r\n--b--\r\n"
)


def _http(path: bytes, kind: bytes, body: bytes, *headers: bytes, method: bytes = b"POST") -> bytes:
    lines = [method + b" " + path + b" HTTP/1.1", b"host: localhost"]
    lines += [b"content-type: " + kind, *headers]
    lines += [b"content-length: %d" % len(body), b"connection: close", b"", b""]
    return b"\r\n".join(lines) + body


def _spamd(command: bytes, body: bytes, *headers: bytes) -> bytes:
    lines = [command + b" SPAMC/1.5", b"Content-length: %d" % len(body), b"User: zoe", *headers]
    return b"\r\n".join([*lines, b"", b""]) + body


_JSON, _LINES = b"application/json", b"application/x-ndjson"
_FILE = b"application/octet-stream"
_CHUNKED = b"transfer-encoding: chunked"
HTTP_REQUESTS = [
    _http(b"/v1/classify", _JSON, TEXT),
    _http(b"/v1/classify", b"text/plain", b"WIN a prize"),
    _http(b"/v1/classify", b"message/rfc822", MAIL),
    _http(b"/v1/classify", _LINES, b'{"text": "WIN"}\n{"text": "see you", "id": 5}\n'),
    _http(b"/v1/classify", _JSON, gzip.compress(TEXT), b"content-encoding: gzip"),
    _http(b"/v1/classify", _JSON, zlib.compress(TEXT), b"content-encoding: deflate"),
    _http(b"/v1/classify?explain=1", b"text/plain", b"WIN", b"expect: 100-continue"),
    _http(b"/v1/chat/completions", _JSON, CHAT),
    _http(b"/v1/feedback", _JSON, b'{"text": "WIN", "label": "spam"}'),
    _http(b"/v1/feedback", _JSON, b'{"text": "WIN", "label": null}'),
    _http(b"/v1/classify/file?name=a.csv", _FILE, b'id,text\n1,"WIN"\n2,see you\n'),
    _http(b"/v1/classify/file?name=a.tsv&column=b", _FILE, b"a\tb\nWIN\tx\n"),
    _http(b"/v1/classify/file?name=a.jsonl", _FILE, b'{"text": "WIN", "id": [5, NaN]}\n{}\n'),
    _http(b"/v1/classify/file?name=a.txt", _FILE, b"From a\n\n" + MAIL + b"\nFrom b\n\nsee you\n"),
    _http(b"/v1/classify/file?name=a.eml", _FILE, gzip.compress(MAIL), b"content-encoding: gzip"),
    _http(b"/", b"x", b"", method=b"GET"),
    _http(b"/page.js", b"x", b"", method=b"GET"),
    _http(b"/v1/classifier", b"x", b"", method=b"GET"),
    _http(b"/docs", b"x", b"", b"upgrade: websocket", b"connection: upgrade", method=b"GET"),
    _http(b"/v1/classify", _JSON, b"").replace(b"content-length: 0", _CHUNKED)
    + b"%x\r\n%s\r\n0\r\n\r\n" % (len(TEXT), TEXT),
]
SPAMD_REQUESTS = [
    _spamd(b"CHECK", MAIL),
    _spamd(b"SYMBOLS", MAIL),
    _spamd(b"REPORT", MAIL),
    _spamd(b"PROCESS", MAIL),
    _spamd(b"HEADERS", zlib.compress(MAIL), b"Compress: zlib"),
    _spamd(b"TELL", MAIL, b"Message-class: spam", b"Set: local"),
    _spamd(b"TELL", MAIL, b"Remove: local"),
    b"PING SPAMC/1.5\r\n\r\n",
]


def damaged(request: bytes, draw: random.Random) -> bytes:
    """The request with some damage, or nothing like it."""
    for _ in range(draw.randint(0, 3)):
        request = draw.choice(_DAMAGES)(request, draw)
    return request


def _place(request: bytes, draw: random.Random) -> tuple[bytes, bytes, bytes]:
    """What is before, at and behind a place."""
    at = draw.randrange(len(request) + 1)
    end = at + draw.randint(1, 40)
    return request[:at], request[at:end], request[end:]


def _cut(request: bytes, draw: random.Random) -> bytes:
    return _place(request, draw)[0]


def _leave_out(request: bytes, draw: random.Random) -> bytes:
    before, _, behind = _place(request, draw)
    return before + behind


def _insert(request: bytes, draw: random.Random) -> bytes:
    before, there, behind = _place(request, draw)
    return before + draw.randbytes(draw.randint(1, 40)) + there + behind


def _repeat(request: bytes, draw: random.Random) -> bytes:
    before, there, behind = _place(request, draw)
    return before + there * draw.randint(2, 200) + behind


def _count_wrong(request: bytes, draw: random.Random) -> bytes:
    number = b"%d" % draw.choice([0, 1, 7, 2**31, 2**64])
    return re.sub(rb"\d+", number, request, count=3)


def _replace(request: bytes, draw: random.Random) -> bytes:
    old, *new = draw.choice(
        [
            (b"\r\n", b"\n", b"\r", b"\r\n\r\n"),
            (b"utf-8", b"idna", b"utf-16", b"x" * 999),
            (b'"', b"[", b"{", b"\\ud800", b"1e999"),
        ]
    )
    return request.replace(old, draw.choice(new), 3)


def _flip(request: bytes, draw: random.Random) -> bytes:
    return bytes(c ^ draw.choice([0, 0, 0, 0, 0, 0, 0, 1, 128]) for c in request)


def _random(request: bytes, draw: random.Random) -> bytes:
    return draw.randbytes(draw.randint(0, 400))


_DAMAGES = [_cut, _leave_out, _insert, _repeat, _count_wrong, _replace, _flip, _random]


def attack(http: int, spamd: int, count: int, seed: int) -> Iterator[str]:
    """Sends so many requests; yields what was wrong about the answers."""
    draw = random.Random(seed)
    for _ in range(count):
        is_http = draw.random() < 0.6
        request = damaged(draw.choice(HTTP_REQUESTS if is_http else SPAMD_REQUESTS), draw)
        answer = _send(http if is_http else spamd, request, draw)
        if answer is None:
            yield f"no end after {request[:200]!r}"
        elif b"Traceback" in answer:
            yield f"a traceback after {request[:200]!r}"
        elif is_http and answer:
            status = re.match(rb"HTTP/1\.[01] (\d+)", answer)
            if not status or (int(status[1]) >= 500 and int(status[1]) not in (501, 503)):
                yield f"{answer[:60]!r} after {request[:200]!r}"
        elif answer and not re.match(rb"SPAMD/1\.\d (0|64|69|75|76|79|98) ", answer):
            yield f"{answer[:60]!r} after {request[:200]!r}"


def _send(port: int, request: bytes, draw: random.Random) -> bytes | None:
    """The answer, as far as it comes; None if the connection is neither answered nor closed."""
    answer = b""
    manner = draw.random()
    try:
        with suppress(ConnectionError), socket.create_connection(("127.0.0.1", port), 20) as client:
            if manner < 0.1:  # in pieces
                for at in range(0, len(request), 1 + len(request) // 5):
                    client.sendall(request[at : at + 1 + len(request) // 5])
            else:
                client.sendall(request)
            if manner > 0.98:  # gone, with a reset
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return answer
            if manner > 0.2:  # else it is left to the server to end what is not whole
                client.shutdown(socket.SHUT_WR)
            while piece := client.recv(65536):
                answer += piece
    except TimeoutError:
        return None
    return answer
