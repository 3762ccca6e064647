"""A long job on Ray over synthetic rows in Parquet, with a worker killed on the way.

Its classifier is small, so that what moves the rows is measured, and that in minutes.
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.processes import descendants, resident_bytes
from benchmarks.scale.figures import Figure
from benchmarks.scale.scoring import messages_of, with_ray
from benchmarks.world import spamgpt
from spamgpt.bundled import MESSAGES_FILE
from spamgpt.data.rows import TEXT
from spamgpt.data.tables import read_table

ROWS = 5_000_000
_ROWS_PER_FILE = 500_000
_SECONDS_BETWEEN_LOOKS = 1.0
_WORKERS = b"ray::MapWorker"
# By how much the memory of all processes may grow from the second tenth of the rows to the last.
_MOST_GROWTH = 0.1
_SHAPE = ("--n-layer", 1, "--n-head", 2, "--n-embd", 32, "--n-positions", 64, "--vocab-size", 512)
_WORDS = ("win", "free", "prize", "call", "now", "see", "you", "at", "home", "later")


def measure(folder: Path, rows: int) -> Iterator[Figure]:
    """Yields the figures of a job over so many rows, with a worker killed after a third of them."""
    import pyarrow.parquet as pq

    _train(folder)
    data, output = folder / "rows", folder / "answers"
    _write_rows(data, rows)
    command = [sys.executable, "-m", "spamgpt", "predict", "--quiet", "--format", "parquet"]
    job = subprocess.Popen(
        [*command, *with_ray(data, output, 2)], cwd=folder, stdout=subprocess.DEVNULL
    )
    held: list[tuple[float, int]] = []
    killed = 0
    began = time.time()
    while job.poll() is None:
        done = sum(map(messages_of, output.glob("part-*"))) / rows
        held.append((done, resident_bytes(job.pid)))
        if not killed and done > 1 / 3 and (workers := descendants(_WORKERS, job.pid)):
            killed = workers[0]
            os.kill(killed, signal.SIGKILL)
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    took = time.time() - began
    if job.returncode:
        raise RuntimeError(f"the job ended with {job.returncode}")
    if not killed:
        raise RuntimeError("no worker was killed: there are too few rows")
    ids = pq.read_table(output, columns=["id"])["id"].combine_chunks()
    yield Figure(f"{rows:,} rows, 2 workers, one killed", f"{took:,.0f} s, {rows / took:,.0f}/s")
    once = len(ids) == len(ids.unique()) == rows
    yield Figure("  ids in the answers", f"{len(ids):,}, {len(ids.unique()):,} different", once)
    ordered = ids.to_pylist() == list(range(rows))
    yield Figure("  in the order of the input", "yes" if ordered else "no", ordered)
    before, last = (
        max(size for done, size in held if low <= done < high)
        for low, high in ((0.1, 0.2), (0.9, 1.0))
    )
    yield Figure("  memory of all processes, second tenth", f"{before / 1e9:.2f} GB")
    flat = last <= before * (1 + _MOST_GROWTH)
    yield Figure("  memory of all processes, last tenth", f"{last / 1e9:.2f} GB", flat)


def _train(folder: Path) -> None:
    """Makes the newest classifier of a workspace in the folder a small one."""
    texts = folder / "texts.txt"
    texts.write_text("\n".join(read_table(MESSAGES_FILE)[TEXT]))
    spamgpt("pretrain", texts, "--tokens", 20_000, *_SHAPE, folder=folder)
    spamgpt("fetch", "--offline", folder=folder)
    spamgpt("prepare", folder=folder)
    spamgpt("finetune", "--model", "pretrained", "--unfreeze", "head", folder=folder)


def _write_rows(folder: Path, rows: int) -> None:
    """Parquet files of rows with an id and a text, all different."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir()
    draw = random.Random(1)
    for begin in range(0, rows, _ROWS_PER_FILE):
        ids = range(begin, min(begin + _ROWS_PER_FILE, rows))
        texts = [f"{' '.join(draw.choices(_WORDS, k=4))} {number}" for number in ids]
        table = pa.table({"id": ids, "text": texts})
        pq.write_table(table, folder / f"{begin:012}.parquet", row_group_size=100_000)
