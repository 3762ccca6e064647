"""Tells a dead network from a slow one before anything is waited for."""

import threading
import time
from collections.abc import Sequence

import requests

# Seconds within which one of the servers must have answered something.
DEADLINE = 5.0


def any_answers(urls: Sequence[str]) -> bool:
    """Whether at least one server says anything at all, be it an error, within DEADLINE seconds."""
    answered = threading.Event()

    def knock(url: str) -> None:
        try:
            requests.head(url, timeout=DEADLINE).close()
            answered.set()
        except (requests.RequestException, ValueError):
            pass

    # Not waited for: looking up a name, or the addresses of a host in turn, can take minutes.
    threads = [threading.Thread(target=knock, args=[url], daemon=True) for url in urls]
    for thread in threads:
        thread.start()
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end and any(thread.is_alive() for thread in threads):
        if answered.wait(0.05):
            break
    return answered.is_set()
