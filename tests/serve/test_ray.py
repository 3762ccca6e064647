"""The application on Ray Serve, on this machine."""

import os
import signal
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from benchmarks.processes import descendants
from spamgpt.errors import UsageError
from tests.serve.conftest import HAM, SPAM

# Ray warns of how it uses its own libraries.
pytestmark = [pytest.mark.distributed, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def deployed(trained_workspace_template: Path) -> Iterator[str]:
    """The address of two replicas."""
    from ray import serve

    from spamgpt.serve.ray import Options, app
    from spamgpt.stages.cluster import cluster

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = Options(
        workspace=str(trained_workspace_template),
        device="cpu",
        min_replicas=2,
        max_replicas=2,
    )
    with cluster(None, quiet=True):
        serve.start(http_options={"host": "127.0.0.1", "port": port})
        serve.run(app(options))
        yield f"http://127.0.0.1:{port}"
        serve.shutdown()


def test_it_is_the_same_application(deployed):
    answered = requests.post(f"{deployed}/v1/classify", json={"texts": [SPAM, HAM]}, timeout=60)
    assert [answer["label"] for answer in answered.json()["answers"]] == ["spam", "ham"]
    told = requests.get(f"{deployed}/v1/classifier", timeout=60).json()
    assert (told["classifier"], told["takes_corrections"]) == ("classifiers/v1", False)
    elsewhere = requests.get(
        f"{deployed}/v1/classifier", headers={"host": "mail.example"}, timeout=60
    )
    assert elsewhere.status_code == 403


def test_no_request_is_lost_with_a_replica_if_the_client_retries_once(deployed):
    killed = threading.Event()
    retried = []

    def ask(number: int) -> list[str]:
        body = {"texts": [f"{SPAM} {number}", f"{HAM} {number}"]}
        for attempt in (1, 2):
            try:
                response = requests.post(f"{deployed}/v1/classify", json=body, timeout=60)
                response.raise_for_status()
            except requests.RequestException:
                if attempt == 2:
                    raise
                retried.append(number)
                continue
            if number == 100:
                os.kill(min(descendants(b"ray::ServeReplica")), signal.SIGKILL)
                killed.set()
            return [answer["text"] for answer in response.json()["answers"]]
        raise AssertionError

    with ThreadPoolExecutor(8) as clients:
        answered = list(clients.map(ask, range(400)))
    assert killed.is_set()
    assert answered == [[f"{SPAM} {n}", f"{HAM} {n}"] for n in range(400)]


def test_options_that_do_not_exist_or_fit_are_refused():
    from pydantic import ValidationError

    from spamgpt.serve.ray import Options, app

    with pytest.raises(ValidationError, match="clasifier"):
        Options(clasifier="v1")
    with pytest.raises(UsageError, match="less than"):
        app(Options(min_replicas=2))
