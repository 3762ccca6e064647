"""How many workers a job needs, how long it takes, what it costs and what limits it: a simulation.

It plays a job of `predict --engine ray` with rates that were measured: readers cut files into
chunks as fast as they read and the network brings them, workers answer one chunk after another, and
a chunk whose worker dies is done again.

python -m benchmarks scale capacity --messages 1e9 --hours 24 --rate 600 --price 0.04
"""

import argparse
import heapq
import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

from spamgpt.data.chunks import MESSAGES_PER_CHUNK

# Chunks that wait for each worker, as in `spamgpt.stages.cluster`.
_WAITING = 4
_MOST_WORKERS = 100_000


@dataclass(frozen=True)
class Job:
    """Rates are in messages a second, of one worker and of one reader; times in seconds.

    `size` is the bytes of a message as it is stored, `network` the bytes a second that all readers
    get together. A worker dies every `failure` hours of its work, if at all, and is back after
    `start` seconds. `price` is that of a worker for an hour.
    """

    messages: float
    files: int
    rate: float
    reading: float = 35_000
    size: float = 120
    network: float = 1e9
    start: float = 30
    failure: float | None = None
    price: float = 0.0


@dataclass(frozen=True)
class Outcome:
    """Seconds of the whole job, the share of them in which each part was busy, and the price."""

    workers: int
    seconds: float
    busy: dict[str, float]
    lost: int
    price: float

    @property
    def bottleneck(self) -> str:
        """The part with the least to spare."""
        return max(self.busy, key=lambda part: self.busy[part])


def simulate(job: Job, workers: int, seed: int = 1) -> Outcome:
    """Plays the job chunk by chunk."""
    draw = random.Random(seed)
    chunks = max(1, round(job.messages / MESSAGES_PER_CHUNK))
    chunk = job.messages / chunks
    read, sent, answered = chunk / job.reading, chunk * job.size / job.network, chunk / job.rate
    # When each is free. A reader has one file, a worker one chunk at a time.
    readers = [0.0] * min(workers, job.files)
    free = [job.start] * workers
    network = 0.0
    taken: deque[float] = deque()  # when the chunks that last waited were taken
    worked = 0.0
    lost = 0
    for _ in range(chunks):
        begin = heapq.heappop(readers)
        if len(taken) == _WAITING * workers:
            begin = max(begin, taken.popleft())
        network = max(network, begin) + sent
        come = max(begin + read, network)
        heapq.heappush(readers, come)
        at = max(heapq.heappop(free), come)
        taken.append(at)
        while job.failure and draw.random() < answered / (3600 * job.failure):
            half = draw.random() * answered
            at, worked, lost = at + half + job.start, worked + half, lost + 1
        worked += answered
        heapq.heappush(free, at + answered)
    seconds = max(free)
    busy = {
        "workers": worked / workers / seconds,
        "readers": chunks * read / len(readers) / seconds,
        "network": chunks * sent / seconds,
        "start": job.start / seconds,
    }
    return Outcome(workers, seconds, busy, lost, workers * seconds / 3600 * job.price)


def fewest_workers(job: Job, hours: float) -> Outcome:
    """The job with as few workers as do it in time; raises ValueError if no number of them does."""
    most = simulate(job, _MOST_WORKERS)
    if most.seconds > hours * 3600:
        raise ValueError(
            f"no number of workers is enough: the {most.bottleneck} alone take "
            f"{most.seconds / 3600:,.1f} hours"
        )
    low, high = 0, _MOST_WORKERS
    while high - low > 1:
        middle = (low + high) // 2
        if simulate(job, middle).seconds > hours * 3600:
            low = middle
        else:
            high = middle
    return simulate(job, high)


def main(arguments: Sequence[str]) -> None:
    """Prints a table: so many workers, or as few as are enough."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks scale capacity",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    job = Job(messages=1e9, files=1000, rate=600)
    parser.add_argument("--messages", type=float, default=job.messages)
    parser.add_argument("--files", type=int, default=job.files, help="that hold the messages")
    parser.add_argument("--rate", type=float, default=job.rate, help="messages/s of a worker")
    parser.add_argument("--reading", type=float, default=job.reading, help="the same of a reader")
    parser.add_argument("--size", type=float, default=job.size, help="bytes of a message")
    parser.add_argument("--network", type=float, default=job.network, help="bytes/s of all readers")
    parser.add_argument("--start", type=float, default=job.start, help="seconds")
    parser.add_argument("--failure", type=float, help="hours of work after which a worker dies")
    parser.add_argument("--price", type=float, default=job.price, help="of a worker for an hour")
    parser.add_argument("--workers", type=int, nargs="+", help="numbers of workers to play")
    parser.add_argument("--hours", type=float, default=24, help="time, if none are given")
    options = vars(parser.parse_args(arguments))
    workers, hours = options.pop("workers"), options.pop("hours")
    job = replace(job, **options)
    try:
        outcomes = [simulate(job, n) for n in workers] if workers else [fewest_workers(job, hours)]
    except ValueError as error:
        parser.error(str(error))
    print("| workers | hours | price | bottleneck | workers busy | readers | network | lost |")
    print("|---:|---:|---:|---|---:|---:|---:|---:|")
    for each in outcomes:
        busy = [f"{each.busy[part]:.0%}" for part in ("workers", "readers", "network")]
        cells = [f"{each.workers:,}", f"{each.seconds / 3600:,.2f}", f"{each.price:,.2f}"]
        print(f"| {' | '.join([*cells, each.bottleneck, *busy, f'{each.lost:,}'])} |")
