"""Scoring with Ray: mini with one worker and with two, its processes pinned to cores."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.scale.figures import Figure
from benchmarks.world import World
from spamgpt.bundled import MESSAGES_FILE
from spamgpt.printable import counted

MESSAGES = 200_000
# How many times as fast as one worker two have to be, and what Ray may take beyond its start.
_LEAST, _MOST_MORE = 1.7, 0.15
_PREDICT = [sys.executable, "-m", "spamgpt", "predict", "--classifier", "bundled", "--quiet"]


def measure(folder: Path, messages: int) -> Iterator[Figure]:
    """Yields the speed of predict on two cores, and of Ray on one core and on two."""
    world = World(folder, MESSAGES_FILE)
    lines = world.write_lines(messages)
    plain = _plain_rate(world, messages)
    yield Figure("predict, 2 cores", f"{plain:,.0f} messages/s beyond its start")
    rates = {}
    for workers in (1, 2):
        output = folder / f"answers-{workers}"
        began = time.time()
        _run([*_PREDICT, *with_ray(lines, output, workers)], workers)
        took = time.time() - began
        rates[workers] = _rate(output, workers)
        yield Figure(
            f"predict --engine ray, {counted(workers, 'worker')} on {counted(workers, 'core')}",
            f"{rates[workers]:,.0f} messages/s, {took:,.0f} s with its start",
        )
    times, more = rates[2] / rates[1], plain / rates[2] - 1
    yield Figure("  2 workers are faster by", f"{times:.2f} times", times >= _LEAST)
    yield Figure("  Ray takes, beyond its start", f"{more:.1%} more", more <= _MOST_MORE)


def with_ray(data: Path, output: Path, workers: int) -> list[str]:
    """The arguments of predict for a job of so many workers."""
    options = ["--engine", "ray", "--concurrency", str(workers), "--output", str(output)]
    return [*options, str(data)]


def _run(command: Sequence[str], cores: int) -> None:
    """Runs a command, and all that it starts, on the first cores of the machine."""
    chosen = sorted(os.sched_getaffinity(0))[:cores]
    subprocess.run(
        command,
        check=True,
        stdout=subprocess.DEVNULL,
        preexec_fn=lambda: os.sched_setaffinity(0, chosen),
    )


def _plain_rate(world: World, messages: int) -> float:
    """Messages a second of predict on two cores, without its start: by a tenth of them and all."""
    few = messages // 10
    seconds = []
    for count in (few, messages):
        lines = world.write_lines(count)
        began = time.perf_counter()
        _run([*_PREDICT, "--format", "jsonl", str(lines)], 2)
        seconds.append(time.perf_counter() - began)
    return (messages - few) / (seconds[1] - seconds[0])


def _rate(output: Path, workers: int) -> float:
    """Messages a second from when each worker has written its first part to when all are written.

    So the start of the cluster is left out.
    """
    parts = sorted(output.glob("part-*"), key=lambda path: path.stat().st_mtime)
    counts = [messages_of(part) for part in parts]
    seconds = parts[-1].stat().st_mtime - parts[workers - 1].stat().st_mtime
    return sum(counts[workers:]) / seconds


def messages_of(part: Path) -> int:
    """How many messages a file of answers is about, as its name tells."""
    begin, end = part.stem.split("-")[2:4]
    return int(end) - int(begin)
