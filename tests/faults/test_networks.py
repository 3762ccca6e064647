"""Servers that stall, reset, lie, redirect, drip and never end: each gets one line, in time."""

import time

import pytest

from benchmarks.faults.networks import BEHAVIOURS, LIMITS, SLOWEST, serving
from spamgpt.errors import IntegrityError, NetworkError
from spamgpt.reporting import SILENT
from spamgpt.sources import datasets


@pytest.mark.parametrize(("behaviour", "reason"), BEHAVIOURS.items())
def test_a_bad_server_gets_one_line_in_time(tmp_path, monkeypatch, behaviour, reason):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for name, limit in LIMITS.items():
        monkeypatch.setattr(datasets, name, limit)
    began = time.monotonic()
    with (
        serving(behaviour) as url,
        pytest.raises((NetworkError, IntegrityError), match=reason) as caught,
    ):
        datasets.obtain_dataset(url, tmp_path, SILENT)
    assert time.monotonic() - began < SLOWEST
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 300
