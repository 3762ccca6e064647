"""A real HTTP server on 127.0.0.1 that can misbehave, and that can play the Hugging Face Hub."""

import hashlib
import json
import re
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

COMMIT = "c" * 40
SHAPE = {"model_type": "gpt2", "n_layer": 2, "n_head": 2, "n_embd": 32}
MODEL = {
    name: f"the content of {name} ".encode() * 1000
    for name in ("vocab.json", "merges.txt", "model.safetensors")
} | {"config.json": json.dumps(SHAPE).encode()}


@dataclass
class Served:
    """What is at a path, and how it is served.

    Of the faults, `status` is another one than 200, with `code` as the Hub's word for it
    (RepoNotFound, RevisionNotFound, EntryNotFound); `truncate` cuts the connection after so many
    bytes of the body or, with `stall`, sends nothing more; `silent` never answers at all. `times`
    says how many requests meet the fault (None: all). `commit` is the Hub's mark on its answers.
    """

    content: bytes = b""
    status: int = 200
    truncate: int | None = None
    times: int | None = None
    stall: bool = False
    silent: bool = False
    code: str = ""
    commit: str | None = COMMIT


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
        state.requests.append((self.command, self.path, self.headers.get("Range")))
        served = state.paths.get(self.path, Served(status=404, code="RepoNotFound"))
        faulty = served.times != 0
        if faulty and served.silent:
            state.stop.wait(60)
            self.close_connection = True
        elif faulty and served.status != 200:
            self._refuse(served)
        else:
            self._serve(served, with_body, served.truncate if faulty else None)

    def _refuse(self, served: Served) -> None:
        self._count(served)
        self.send_response(served.status)
        self.send_header("X-Error-Code", served.code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _serve(self, served: Served, with_body: bool, truncate: int | None) -> None:
        content, start = served.content, 0
        if wanted := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")):
            start = int(wanted[1])
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(content) - start))
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        if served.commit:
            asked_for = re.search(r"/resolve/([0-9a-f]{40})/", self.path)
            self.send_header("X-Repo-Commit", asked_for[1] if asked_for else served.commit)
        self.end_headers()
        if not with_body:
            return
        if truncate is None:
            self.wfile.write(content[start:])
            return
        self._count(served)
        self.wfile.write(content[start : start + truncate])
        self.wfile.flush()
        if served.stall:
            self.server_state.stop.wait(60)
        self.close_connection = True

    def _count(self, served: Served) -> None:
        if served.times is not None:
            served.times -= 1

    def log_message(self, *arguments: object) -> None:
        pass


class Listener(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        # Clients that give up are part of the tests.
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


@pytest.fixture
def server() -> Iterator[Server]:
    handler = type("OwnHandler", (Handler,), {})
    http = Listener(("127.0.0.1", 0), handler)
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


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    """What goes to 127.0.0.1 goes there directly, whatever the machine has for the internet."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture(autouse=True)
def nothing_left(tmp_path, monkeypatch) -> Iterator[None]:
    """Temporary files go to a folder that is empty again after every test, however it went."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield
    # A folder of PyTorch's own appears with its first import.
    assert [path for path in folder.iterdir() if "torchinductor" not in path.name] == []


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """Servers that stall are given up on after a second, and nobody waits to try again."""
    from huggingface_hub import constants

    from spamgpt.sources import datasets

    monkeypatch.setattr(datasets, "_TIMEOUT", (1, 1))
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.3)
    monkeypatch.setattr(constants, "HF_HUB_ETAG_TIMEOUT", 1)
    monkeypatch.setattr("time.sleep", lambda seconds: None)


@pytest.fixture
def files() -> dict[str, bytes]:
    """The files of a model on the Hub, by name."""
    return dict(MODEL)


UseEndpoint = Callable[[str], None]


@pytest.fixture
def use_endpoint(monkeypatch) -> UseEndpoint:
    """Sets HF_ENDPOINT for this process, which the library has read when it was imported."""
    from huggingface_hub import constants

    def use(url: str) -> None:
        monkeypatch.setattr(constants, "ENDPOINT", url)
        template = url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)

    return use


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """The folder of the Hub's cache."""
    from huggingface_hub import constants

    folder = tmp_path / "hub-cache"
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    return folder


@pytest.fixture
def hub(cache, server, files, use_endpoint, monkeypatch) -> Server:
    """A Hub with `small`, the one published model, at its pinned revision."""
    from spamgpt.sources import models

    use_endpoint(server.url)
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    small = models.HubModel("small", "owner/small", COMMIT, digests)
    monkeypatch.setattr(models, "PUBLISHED_MODELS", {"small": small})
    server.put_on_hub("owner/small", COMMIT, files)
    return server
