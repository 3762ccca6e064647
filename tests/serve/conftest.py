"""Real servers on 127.0.0.1: in a thread of the tests, or as a process of its own."""

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import requests

from spamgpt.classifier.predictor import Predictor
from spamgpt.serve.access import Access
from spamgpt.serve.app import create_app
from spamgpt.serve.lifecycle import serve
from spamgpt.serve.limits import Limits
from spamgpt.serve.service import Service, Serving, Teach
from spamgpt.serve.sockets import Address, listen

SPAM, HAM = "WIN a FREE prize now!!", "see you later"


@dataclass
class Ports:
    """Where a server listens."""

    http: int
    spamd: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http}"

    def raw(self, data: bytes, port: int | None = None, close: bool = False) -> bytes:
        """What comes back for bytes, up to where the server closes the connection."""
        with socket.create_connection(("127.0.0.1", port or self.http), timeout=30) as client:
            client.sendall(data)
            if close:
                client.shutdown(socket.SHUT_WR)
            answer = b""
            try:
                while piece := client.recv(65536):
                    answer += piece
            except ConnectionError:
                pass
        return answer


@dataclass
class Server(Ports):
    """A running server: its service, and what it was taught."""

    service: Service
    taught: list[tuple[str, str | None]] = field(default_factory=list)

    def post(self, path: str, body: bytes | str, kind: str = "application/json", **headers: str):
        return requests.post(
            self.url + path,
            data=body.encode() if isinstance(body, str) else body,
            headers={"content-type": kind, **{k.replace("_", "-"): v for k, v in headers.items()}},
            timeout=30,
        )

    def get(self, path: str, **headers: str):
        return requests.get(
            self.url + path,
            headers={k.replace("_", "-"): v for k, v in headers.items()},
            timeout=30,
        )


@pytest.fixture(scope="session")
def serving(trained_workspace_template: Path) -> Serving:
    from spamgpt import SpamClassifier

    classifier = SpamClassifier.from_pretrained(trained_workspace_template, device="cpu")
    return Serving("classifiers/v1", Predictor(classifier))


StartServer = Callable[..., Server]


@pytest.fixture(scope="module")
def start(serving: Serving) -> Iterator[StartServer]:
    """Starts servers in threads; they end with the module."""
    with ExitStack() as stack:

        def start(
            access: Access | None = None,
            can_learn: bool = True,
            teach: Teach | None = None,
            answering: Serving = serving,
            **limits: object,
        ) -> Server:
            taught: list[tuple[str, str | None]] = []
            if can_learn and teach is None:
                teach = lambda text, label: taught.append((text, label))  # noqa: E731
            service = Service(answering, Limits(**limits), teach)
            sockets = [listen(Address("127.0.0.1", 0)) for _ in range(2)]
            ports = [each.getsockname()[1] for each in sockets]
            stack.enter_context(_running(service, access, *sockets))
            return Server(*ports, service, taught)

        yield start


class _running:
    def __init__(self, service: Service, access: Access | None, *sockets: socket.socket) -> None:
        self._ready = threading.Event()

        async def run() -> None:
            self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
            self._ready.set()
            await serve(service, create_app(service, access), *sockets, stop=self._stop)

        self._thread = threading.Thread(target=asyncio.run, args=[run()])

    def __enter__(self) -> None:
        self._thread.start()
        self._ready.wait()

    def __exit__(self, *error: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()


@pytest.fixture(scope="module")
def server(start: StartServer) -> Server:
    return start()


@dataclass
class Process(Ports):
    """`spamgpt serve` as a process of its own, and what it says on standard error."""

    process: subprocess.Popen[str]
    log: Path

    def end(self) -> int:
        """Ends it as a service manager does; its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


@pytest.fixture
def start_process(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    with ExitStack() as stack:

        def start(*options: object, spamd_port: int = 0) -> Process:
            log = tmp_path / f"serve-{len(list(tmp_path.glob('serve-*')))}.log"
            command = [sys.executable, "-m", "spamgpt", "serve", "--port", "0"]
            command += ["--spamd", f"127.0.0.1:{spamd_port}", *map(str, options)]
            with log.open("w") as file:
                process = subprocess.Popen(
                    command,
                    stderr=file,
                    cwd=tmp_path,
                    text=True,
                    env={**os.environ, "COLUMNS": "80"},
                )
            stack.callback(process.wait)
            stack.callback(process.kill)
            while True:
                ports = re.findall(r"Listening on \D*127\.0\.0\.1:(\d+)", log.read_text())
                if len(ports) == 2:
                    return Process(*map(int, ports), process, log)
                assert process.poll() is None, log.read_text()
                threading.Event().wait(0.05)

        yield start
