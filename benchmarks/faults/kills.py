"""SIGKILL at random moments, over all stages and the server: nothing is lost, all can go on."""

import random
import re
import time
from collections.abc import Callable
from threading import Thread

import requests

from benchmarks.faults.commands import PATIENCE, Running, start
from benchmarks.faults.states import PLANS, TAUGHT, States
from benchmarks.faults.tally import HUNG, LOST, TRACEBACKS, UNANSWERED, Tally
from spamgpt.data.corrections import Corrections
from spamgpt.workspace import Workspace

TITLE = "Kills"
PROMISE = (
    "Commands and servers are ended by SIGKILL at random moments of their work. After each, "
    "`artifacts --verify` finds everything that was there, the same command goes on or is given "
    "again and ends with the digest of one that was never killed, `predict` answers, and no "
    "correction that was acknowledged is gone."
)
# The server also while it trains; it has no end of its own, so that its lives are this long.
SERVERS = {"serve": (), "serve --train-after": ("--train-after", 5)}
_LIFE = {"serve": 0.6, "serve --train-after": 6.0}
CLIENTS = 4


def run(tally: Tally, states: States, kills: int, seed: int, told: Callable[[], None]) -> None:
    """Kills so many times, a command after the other; `told` is called after each."""
    draw = random.Random(seed)
    names = [*PLANS, *SERVERS]
    acknowledged = 0
    for number in range(kills):
        name = names[number % len(names)]
        if name in SERVERS:
            acknowledged += _kill_server(tally, states, name, draw)
        else:
            _kill_command(tally, states, name, draw)
        tally.notes = [f"The servers had acknowledged {acknowledged:,} corrections."]
        told()


def _kill_command(tally: Tally, states: States, name: str, draw: random.Random) -> None:
    plan = PLANS[name]
    while True:
        with states.copy(plan.state) as folder:
            running = start(*plan.command, folder=folder)
            if running.wait(draw.uniform(0, states.seconds(name))) is not None:
                continue  # it had ended before
            running.kill()
            tally.tried(name)
            states.look_at(tally, name, folder, plan)
            states.go_on(tally, name, folder, name)
            return


def _kill_server(tally: Tally, states: States, name: str, draw: random.Random) -> int:
    """Returns how many corrections it had acknowledged."""
    with states.copy(TAUGHT) as folder:
        command = ("serve", "--port", 0, "--device", "cpu", *SERVERS[name])
        running = start(*command, folder=folder)
        tally.tried(name)
        url = _address(running)
        if url is None:
            running.kill()
            tally.wrong(name, HUNG, running.said())
            return 0
        seconds = draw.uniform(0.02, _LIFE[name])
        acknowledged, refused = teach_until_killed(url, name, seconds, running.kill)
        workspace = Workspace(folder / "workspace")
        kept = {each.text: each.label for each in Corrections(workspace)}
        if gone := acknowledged.items() - kept.items():
            tally.wrong(name, LOST, f"{len(gone)} of {len(acknowledged)} corrections")
        for each in refused:
            tally.wrong(name, UNANSWERED, each)
        if "Traceback" in running.said():
            tally.wrong(name, TRACEBACKS, running.said())
        states.look_at(tally, name, folder, PLANS["learn --train"])
        done = start("predict", "texts.txt", folder=folder).done()
        if done.status:
            tally.wrong(name, UNANSWERED, done.err)
    return len(acknowledged)


def teach_until_killed(
    url: str, name: str, seconds: float, kill: Callable[[], object]
) -> tuple[dict[str, str], list[str]]:
    """Teaches a server by several clients until it is killed, after so many seconds.

    Returns what it acknowledged, texts with their labels, and what it said instead of that. No two
    messages are equal: they have the number of the client, their own, and `name`.
    """
    acknowledged: dict[str, str] = {}
    refused: list[str] = []

    def teach(client: int) -> None:
        with requests.Session() as session:
            for count in range(100_000):
                body = {"text": f"{name} {client} {count}", "label": ("spam", "ham")[count % 2]}
                try:
                    response = session.post(f"{url}/v1/feedback", json=body, timeout=30)
                except requests.RequestException:
                    return
                if response.status_code == 200:
                    acknowledged[body["text"]] = body["label"]
                else:
                    refused.append(response.text)

    clients = [Thread(target=teach, args=[client]) for client in range(CLIENTS)]
    for client in clients:
        client.start()
    time.sleep(seconds)
    kill()
    for client in clients:
        client.join()
    return acknowledged, refused


def _address(running: Running) -> str | None:
    """Where a server listens, as soon as it says so."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and running.wait(0.01) is None:
        if said := re.search(r"http://127\.0\.0\.1:\d+", running.said()):
            return said[0]
    return None
