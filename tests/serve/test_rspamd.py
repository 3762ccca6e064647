"""Mails that a real rspamd asks about, with the configuration that the documents show."""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from benchmarks.filters import rspamd
from benchmarks.load import free_port, mail_of, running
from tests.serve.conftest import HAM, SPAM

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "serve.md"
# The first version with the module.
WITH_GPT = (3, 9)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that rspamd's user may enter, unlike those of tests."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def missing() -> str | None:
    programs = [name for name in ("rspamd", "redis-server") if shutil.which(name) is None]
    if programs:
        return f"not installed (Debian): {', '.join(programs)}"
    said = subprocess.run(["rspamd", "--version"], capture_output=True, text=True).stdout
    version = re.search(r"version (\d+)\.(\d+)", said)
    if not version or tuple(map(int, version.groups())) < WITH_GPT:
        return f"this rspamd has no GPT module: {said.splitlines()[0]}"
    return None


@pytest.mark.mail
def test_rspamd_asks_with_the_configuration_of_the_page(server, folder):
    if reason := missing():
        pytest.skip(reason)
    page = PAGE.read_text(encoding="utf-8")
    gpt, redis = (
        re.search(rf"local\.d/{name}\.conf`[^`]*```\n(.*?)```", page, re.DOTALL)[1]
        for name in ("gpt", "redis")
    )
    port = free_port()
    files = {
        "gpt.conf": gpt.replace("127.0.0.1:8000", f"127.0.0.1:{server.http}"),
        "redis.conf": redis.replace("127.0.0.1", f"127.0.0.1:{port}"),
    }
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    with running(command, folder, {}), rspamd(folder, files) as asked:

        def answer(text: str) -> dict:
            url = f"http://127.0.0.1:{asked}/checkv2"
            return requests.post(url, data=mail_of(text), timeout=60).json()

        spam = answer(f"{SPAM} {SPAM}")
        assert spam["symbols"]["GPT_SPAM"]["score"] > 0
        reason = spam["milter"]["add_headers"]["X-Spamgpt-Reason"]["value"]
        assert reason.startswith("classifiers/v1: spam, probability of spam ")
        assert "GPT_SPAM" not in answer(f"{HAM} {HAM}")["symbols"]
    count = server.service.metrics.registry.get_sample_value(
        "spamgpt_requests_total",
        {"protocol": "http", "endpoint": "/v1/chat/completions", "status": "200"},
    )
    assert count == 2
