"""A real HTTP server on 127.0.0.1 that can misbehave, and that can play the Hugging Face Hub."""

import hashlib
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

COMMIT = "c" * 40


@dataclass
class Served:
    """What is at a path, and how it is served.

    `truncate` cuts the connection after so many bytes of the body, `times` says for how many
    requests (None: always); `stall` sends nothing more instead of closing.
    """

    content: bytes = b""
    status: int = 200
    truncate: int | None = None
    times: int | None = None
    stall: bool = False


@dataclass
class Server:
    url: str
    paths: dict[str, Served] = field(default_factory=dict)
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def put(self, path: str, content: bytes = b"", **how) -> str:
        self.paths[path] = Served(content, **how)
        return self.url + path

    def put_on_hub(self, repository: str, revision: str, files: dict[str, bytes], **how) -> None:
        for name, content in files.items():
            self.put(f"/{repository}/resolve/{revision}/{name}", content, **how)

    def gets(self, suffix: str) -> list[str | None]:
        """The Range headers of the GET requests for paths with this ending."""
        return [r for method, path, r in self.requests if method == "GET" and path.endswith(suffix)]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_state: Server

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, with_body: bool) -> None:
        state = self.server_state
        wanted = self.headers.get("Range")
        state.requests.append((self.command, self.path, wanted))
        served = state.paths.get(self.path, Served(status=404))
        content, status = served.content, served.status
        start = 0
        if status == 200 and wanted and (match := re.fullmatch(r"bytes=(\d+)-", wanted)):
            start, status = int(match[1]), 206
        self.send_response(status)
        if served.status == 200:
            self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("Accept-Ranges", "bytes")
            if status == 206:
                self.send_header(
                    "Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}"
                )
        elif served.status == 404 and "/resolve/" in self.path:
            self.send_header("X-Error-Code", "RepoNotFound")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        if not with_body:
            return
        body = content[start:]
        if served.truncate is None or served.times == 0:
            self.wfile.write(body)
            return
        if served.times is not None:
            served.times -= 1
        self.wfile.write(body[: served.truncate])
        self.wfile.flush()
        if served.stall:
            state.stop.wait(60)
        self.close_connection = True
        self.connection.close()

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    handler = type("OwnHandler", (Handler,), {})
    http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    http.handle_error = lambda *arguments: None  # clients that give up are part of the tests
    state = Server(f"http://127.0.0.1:{http.server_port}")
    handler.server_state = state
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield state
    state.stop.set()
    http.shutdown()
    http.server_close()
    thread.join()


@pytest.fixture
def nowhere() -> str:
    """An address at which nothing listens."""
    http = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    http.server_close()
    return f"http://127.0.0.1:{http.server_port}"
