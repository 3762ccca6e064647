import http.client
import json
import os
import shutil
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from benchmarks.processes import descendants
from tests.serve.conftest import HAM, SPAM


def ask(url: str, *texts: str) -> requests.Response:
    return requests.post(f"{url}/v1/classify", json={"texts": texts}, timeout=60)


@pytest.fixture
def process(start_process, trained_workspace):
    return start_process("-w", trained_workspace)


def test_the_end_answers_what_was_accepted_and_takes_nothing_new(process):
    texts = [f"{SPAM} {n} " * 20 for n in range(200)]
    answered = []
    busy = threading.Thread(target=lambda: answered.append(ask(process.url, *texts)))
    busy.start()
    kept = http.client.HTTPConnection("127.0.0.1", process.http, timeout=30)
    kept.request("GET", "/readyz")
    assert kept.getresponse().read()
    time.sleep(0.2)
    process.process.terminate()
    status = process.process.wait(60)
    busy.join()
    assert [len(each.json()["answers"]) for each in answered] == [200]
    assert status == 0
    with pytest.raises(requests.ConnectionError):
        ask(process.url, HAM)
    assert process.log.read_text().endswith("Stopping. What was accepted is answered first.\n")


def test_a_mail_that_was_begun_is_answered_and_later_ones_find_nobody(process):
    with socket.create_connection(("127.0.0.1", process.spamd), 60) as client:
        client.sendall(b"CHECK SPAMC/1.5\r\n")
        process.raw(b"PING SPAMC/1.5\r\n\r\n", process.spamd)
        process.process.terminate()
        deadline = time.monotonic() + 60
        while "Stopping." not in process.log.read_text():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", process.spamd), 60).close()
        client.sendall(b"Content-length: 6\r\n\r\nsee yo")
        assert client.recv(1000).startswith(b"SPAMD/1.1 0 EX_OK\r\n")
    assert process.process.wait(60) == 0


def test_the_end_ends_a_stream_that_has_none(process):
    client = http.client.HTTPConnection("127.0.0.1", process.http, timeout=30)
    client.putrequest("POST", "/v1/classify")
    client.putheader("content-type", "application/x-ndjson")
    client.putheader("transfer-encoding", "chunked")
    client.endheaders()
    line = json.dumps({"text": SPAM}).encode() + b"\n"
    client.send(b"%x\r\n%s\r\n" % (len(line), line))
    response = client.getresponse()
    assert json.loads(response.readline())["label"] == "spam"
    process.process.terminate()
    assert json.loads(response.readline())["error"]["type"] == "stopping"
    assert response.read() == b""
    assert process.process.wait(60) == 0


def test_ctrl_c_ends_it_as_well(process):
    process.process.send_signal(2)
    assert process.process.wait(60) == 0


def test_a_newer_classifier_is_taken_up_and_no_request_is_lost(process, trained_workspace):
    names, failed, done = set(), [], threading.Event()

    def keep_asking():
        with requests.Session() as session:
            while not done.is_set():
                response = session.post(
                    f"{process.url}/v1/classify", json={"texts": [HAM, SPAM]}, timeout=60
                )
                names.add(response.headers.get("spamgpt-classifier"))
                if response.status_code != 200 or len(response.json()["answers"]) != 2:
                    failed.append(response.text)

    threads = [threading.Thread(target=keep_asking) for _ in range(4)]
    for thread in threads:
        thread.start()
    classifiers = trained_workspace / "classifiers"
    # As a stage does it: made beside the others, and then renamed.
    shutil.copytree(classifiers / "v1", classifiers / ".copy")
    (classifiers / ".copy").rename(classifiers / "v2")
    deadline = time.monotonic() + 60
    while "classifiers/v2" not in names and time.monotonic() < deadline:
        time.sleep(0.05)
    done.set()
    for thread in threads:
        thread.join()
    assert failed == []
    assert names == {"classifiers/v1", "classifiers/v2"}
    assert "From now on classifiers/v2 answers." in process.log.read_text()
    assert 'spamgpt_classifier{name="classifiers/v2"} 1.0' in requests.get(
        f"{process.url}/metrics", timeout=10
    ).text  # fmt: skip


def test_a_damaged_newer_classifier_is_told_once_and_the_old_one_stays(process, trained_workspace):
    (trained_workspace / "classifiers" / "v2").mkdir()
    time.sleep(6)
    assert ask(process.url, HAM).headers["spamgpt-classifier"] == "classifiers/v1"
    assert process.log.read_text().count("A newer classifier is not taken up") == 1


def test_a_pinned_classifier_stays(start_process, trained_workspace):
    process = start_process("-w", trained_workspace, "--classifier", "v1")
    classifiers = trained_workspace / "classifiers"
    shutil.copytree(classifiers / "v1", classifiers / ".copy")
    (classifiers / ".copy").rename(classifiers / "v2")
    time.sleep(4)
    assert ask(process.url, HAM).headers["spamgpt-classifier"] == "classifiers/v1"


def test_a_killed_classifier_is_replaced_and_no_request_is_lost(process):
    with ThreadPoolExecutor(4) as clients:
        for number in range(40):
            if number == 20:
                for each in descendants(of=process.process.pid):
                    if b"spawn_main" in Path(f"/proc/{each}/cmdline").read_bytes():
                        os.kill(each, signal.SIGKILL)
            found = list(clients.map(lambda n: ask(process.url, f"{SPAM} {n}"), range(4)))
            assert [each.status_code for each in found] == [200] * 4
    assert process.end() == 0
