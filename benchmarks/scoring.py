"""Scoring with Ray: speed with one and two workers, and a long job with a worker killed on the way.

python -m benchmarks scoring                  1 and 2 workers, each pinned to a core
python -m benchmarks scoring --rows 5000000   synthetic rows; a worker is killed, ids are counted
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.processes import descendants, resident_bytes
from benchmarks.world import World
from spamgpt.bundled import MESSAGES_FILE
from spamgpt.printable import counted

MESSAGES = 200_000
ROWS_PER_FILE = 500_000
_SECONDS_BETWEEN_LOOKS = 1.0
_WORKERS = b"ray::MapWorker"


def measure(world: World, messages: int = MESSAGES) -> Iterator[tuple[str, str]]:
    """Yields a figure's name and its value: mini on messages, its processes pinned to cores."""
    lines = world.write_lines(messages)
    plain = _plain_rate(world, messages)
    yield "predict, 2 cores", f"{plain:,.0f} messages/s beyond its start"
    rates = {}
    for workers in (1, 2):
        output = world.folder / f"answers-{workers}"
        began = time.time()
        _run(_command(lines, output, workers), workers)
        took = time.time() - began
        rates[workers] = _rate(output, workers)
        yield (
            f"predict --engine ray, {counted(workers, 'worker')} on {counted(workers, 'core')}",
            f"{rates[workers]:,.0f} messages/s, {took:,.0f} s with its start",
        )
    yield "  2 workers are faster by", f"{rates[2] / rates[1]:.2f} times"
    yield "  Ray takes, beyond its start", f"{plain / rates[2] - 1:.1%} more than predict"


def _command(data: Path, output: Path, workers: int) -> list[str]:
    options = ["--engine", "ray", "--concurrency", str(workers), "--output", str(output)]
    return [*_PREDICT, *options, str(data)]


_PREDICT = [sys.executable, "-m", "spamgpt", "predict", "--classifier", "bundled", "--quiet"]


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
    counts = [_messages_of(part) for part in parts]
    seconds = parts[-1].stat().st_mtime - parts[workers - 1].stat().st_mtime
    return sum(counts[workers:]) / seconds


def _messages_of(part: Path) -> int:
    begin, end = part.stem.split("-")[2:4]
    return int(end) - int(begin)


def measure_long(folder: Path, rows: int) -> Iterator[tuple[str, str]]:
    """Yields the figures of a job over so many rows, with a worker killed after a third of them."""
    import pyarrow.parquet as pq

    data, output = folder / "rows", folder / "answers"
    _write_rows(data, rows)
    command = subprocess.Popen(
        [*_command(data, output, 2), "--format", "parquet"], stdout=subprocess.DEVNULL
    )
    held: list[tuple[float, int]] = []
    killed = 0
    began = time.time()
    while command.poll() is None:
        done = sum(map(_messages_of, output.glob("part-*"))) / rows
        held.append((done, resident_bytes(command.pid)))
        if not killed and done > 1 / 3 and (workers := descendants(_WORKERS, command.pid)):
            killed = workers[0]
            os.kill(killed, signal.SIGKILL)
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    took = time.time() - began
    if command.returncode:
        raise RuntimeError(f"the job ended with {command.returncode}")
    if not killed:
        raise RuntimeError("no worker was killed: there are too few rows")
    ids = pq.read_table(output, columns=["id"])["id"].combine_chunks()
    yield f"{rows:,} rows, 2 workers, one killed", f"{took:,.0f} s, {rows / took:,.0f} rows/s"
    yield "  ids in the answers", f"{len(ids):,}, {len(ids.unique()):,} different"
    yield "  in the order of the input", str(ids.to_pylist() == list(range(rows)))
    for name, low, high in (("second", 0.1, 0.2), ("last", 0.9, 1.0)):
        peak = max((size for done, size in held if low <= done < high), default=0)
        yield f"  memory of all processes, in the {name} tenth", f"{peak / 1e9:.2f} GB"


def _write_rows(folder: Path, rows: int) -> None:
    """Parquet files of rows with an id and a text, all different."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir()
    draw = random.Random(1)
    words = [
        "win",
        "free",
        "prize",
        "call",
        "now",
        "see",
        "you",
        "at",
        "home",
        "later",
        "ok",
        "meeting",
        "lunch",
        "claim",
        "urgent",
    ]
    for begin in range(0, rows, ROWS_PER_FILE):
        ids = range(begin, min(begin + ROWS_PER_FILE, rows))
        texts = [f"{' '.join(draw.choices(words, k=4))} {number}" for number in ids]
        table = pa.table({"id": ids, "text": texts})
        pq.write_table(table, folder / f"{begin:012}.parquet", row_group_size=100_000)


def main() -> None:
    """Runs what the options say and prints its table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=MESSAGES, help="for 1 and 2 workers")
    parser.add_argument("--rows", type=int, help="a long job, over so many rows")
    options = parser.parse_args()
    print("| what | measured |\n|---|---:|")
    with tempfile.TemporaryDirectory() as folder:
        figures = (
            measure_long(Path(folder), options.rows)
            if options.rows
            else measure(World(Path(folder), MESSAGES_FILE), options.messages)
        )
        for what, value in figures:
            print(f"| {what} | {value} |", flush=True)


if __name__ == "__main__":
    main()
