"""A scoring job on a Ray cluster: readers cut files into chunks, actors answer and write them.

Ray Data spreads the work, starts again what dies and holds back readers that are ahead. Whatever
it runs twice writes the same file twice.
"""

import gc
import logging
import math
import os
import pickle
import socket
from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from spamgpt.classifier.predictor import Predictor
from spamgpt.data.chunks import BYTES_PER_CHUNK, MESSAGES_PER_CHUNK, Chunk, chunks_of
from spamgpt.data.stores import Folder
from spamgpt.device import set_threads
from spamgpt.errors import MissingInputError, SpamgptError, UsageError, as_user_error
from spamgpt.printable import counted
from spamgpt.stages.parts import PartFormat, jsonl_part, parquet_part, part_name
from spamgpt.stages.predict import (
    MOST_ERRORS_TOLD,
    Answer,
    PredictSettings,
    Refusal,
    answers_to,
    messages_of,
)

if TYPE_CHECKING:
    import ray

    from spamgpt.classifier.model import SpamClassifier

# So many chunks for each worker may wait in the memory of the cluster.
_CHUNKS_WAITING = 4
# How long a cluster may take to accept a connection, in seconds.
_PATIENCE = 10
# The column of Ray's tables that everything is in.
_PICKLED = "pickled"


@dataclass(frozen=True)
class Reading:
    """An input file by its number, and the beginnings of its chunks that are answered already."""

    number: int
    address: str
    answered: frozenset[int]


@dataclass(frozen=True)
class Job:
    """How files are read and answered: in which form the answers are written, and where.

    `columns` are what strings are passed on in Parquet, of inputs that are not Parquet themselves.
    `chunk` is how many messages are in a file of answers, `threads` the CPU threads of a worker.
    """

    predict: PredictSettings
    format: PartFormat
    columns: Sequence[str]
    output: str
    chunk: int = MESSAGES_PER_CHUNK
    threads: int = 1


@dataclass(frozen=True)
class Scored:
    """What became of a chunk: messages of each label, how many cannot be read, and first errors."""

    labels: Mapping[str, int]
    errors: int
    told: Sequence[SpamgptError]


@contextmanager
def cluster(address: str | None, quiet: bool) -> Iterator[None]:
    """A connection to the cluster at an address or, for None, a cluster on this machine until then.

    Raises MissingInputError if there is no cluster.
    """
    # Ray would otherwise report to its makers.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    if ray.is_initialized():
        yield
        return
    if quiet:
        import ray.data  # which sets the level, too

        logging.getLogger("ray.data").setLevel(logging.ERROR)
    own: dict[str, Any] = {} if address else {"include_dashboard": False}
    try:
        host, _, port = (address or "").rpartition(":")
        if port.isdecimal() and "://" not in host:
            # Ray would go on trying.
            socket.create_connection((host.strip("[]"), int(port)), _PATIENCE).close()
        ray.init(address or "local", logging_level=logging.ERROR, log_to_driver=False, **own)
    except OSError as error:  # ConnectionError among them
        raise MissingInputError(
            f"There is no Ray cluster at `address={address}`.",
            "Start it, or leave `address` out for a cluster on this machine.",
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def score(
    job: Job,
    readings: Sequence[Reading],
    classifier: "SpamClassifier",
    concurrency: int | None = None,
    num_gpus: float = 0,
    quiet: bool = False,
) -> Generator[Scored]:
    """Answers what is missing of the files, and yields what becomes of each chunk, as it is done.

    There are `concurrency` workers (None: as many as the cluster has room for), each with
    `num_gpus` GPUs. Raises UsageError if there is room for none, and what reading raises.
    """
    import ray
    import ray.data
    from ray.data import ActorPoolStrategy, ExecutionResources, TaskPoolStrategy

    room = _room(ray.cluster_resources(), job.threads, num_gpus)
    # A cluster of many machines may grow.
    if concurrency is not None and concurrency > room and len(ray.nodes()) == 1:
        raise UsageError(
            f"There is room for {counted(room, 'worker')} on this machine, not for {concurrency}.",
            "Lower `concurrency` or `threads`, or leave them out.",
        )
    workers = concurrency or room
    context = ray.data.DataContext.get_current()
    # A chunk is a block, and not many together: each is scored as soon as it is read.
    context.target_max_block_size = 1
    context.enable_progress_bars = not quiet
    context.execution_options.resource_limits = ExecutionResources.for_limits(
        object_store_memory=_CHUNKS_WAITING * BYTES_PER_CHUNK * workers
    )
    files = ray.data.from_items(
        [{_PICKLED: pickle.dumps(reading)} for reading in readings],
        override_num_blocks=len(readings),
    )
    chunks = files.map_batches(
        cast(Any, _read),
        fn_kwargs={"job": job},
        batch_size=1,
        # Workers may hold all processors; a reader waits for them most of the time.
        num_cpus=0,
        compute=TaskPoolStrategy(size=min(workers, len(readings))),
    )
    scored = chunks.map_batches(
        _Scorer,
        fn_constructor_kwargs={"job": job, "classifier": ray.put(classifier.bundle())},
        batch_size=1,
        num_cpus=job.threads,
        num_gpus=num_gpus,
        compute=ActorPoolStrategy(size=workers),
    )
    try:
        for row in scored.iter_rows():
            found: Scored | SpamgptError = pickle.loads(row[_PICKLED])
            if isinstance(found, SpamgptError):
                raise found
            yield found
    except ray.exceptions.RayError as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise SpamgptError(
            f"The cluster could not go on: {reason[-1].strip()}",
            "Run the command again: it does what is missing. Every node needs this spamgpt.",
        ) from error


def _room(resources: Mapping[str, float], threads: int, num_gpus: float) -> int:
    """How many workers fit into the resources of a cluster."""
    room = math.floor(resources.get("CPU", 0) / threads)
    if num_gpus:
        room = min(room, math.floor(resources.get("GPU", 0) / num_gpus))
    if not room:
        raise UsageError(
            f"The cluster has {resources.get('CPU', 0):g} CPUs and {resources.get('GPU', 0):g} "
            f"GPUs, too few for a worker with {threads} and {num_gpus:g}.",
            "Lower `threads` or `num_gpus`.",
        )
    return room


def _read(batch: dict[str, Any], job: Job) -> Iterator[dict[str, list[bytes]]]:
    """A task of Ray: the chunks of a file that are not answered, each with the number of the file.

    What ends the reading comes as a row: Ray would write exceptions into its logs and the terminal.
    """
    reading: Reading = pickle.loads(batch[_PICKLED][0])
    chunks = chunks_of(
        reading.address,
        lambda lines: messages_of(job.predict, [(reading.address, lines)]),
        job.chunk,
        with_rows=job.format == "parquet",
    )
    try:
        for chunk in chunks:
            if chunk.begin not in reading.answered:
                yield {_PICKLED: [pickle.dumps((reading.number, chunk))]}
    except (SpamgptError, OSError) as error:
        yield {_PICKLED: [pickle.dumps((reading.number, as_user_error(error)))]}


class _Scorer:
    """An actor of Ray: holds a classifier, answers chunks and writes the answers."""

    def __init__(self, job: Job, classifier: "ray.ObjectRef[bytes]") -> None:
        import ray

        from spamgpt.classifier.model import SpamClassifier

        set_threads(job.threads)
        settings = job.predict
        chosen = settings.device, settings.precision, settings.max_batch_tokens
        loaded = SpamClassifier.from_bundle(ray.get(classifier), *chosen)
        self._predictor = Predictor(loaded, settings.threshold, settings.unsure)
        self._job = job
        self._output = Folder(job.output)
        # What is here now stays. Looking through it for garbage with every chunk takes a tenth of
        # the time.
        gc.freeze()

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[bytes]]:
        number, found = pickle.loads(batch[_PICKLED][0])
        if isinstance(found, Chunk):
            try:
                found = self._score(number, found)
            except (SpamgptError, OSError) as error:
                found = as_user_error(error)
        return {_PICKLED: [pickle.dumps(found)]}

    def _score(self, number: int, chunk: Chunk) -> Scored:
        answers = answers_to(chunk.messages, self._predictor)
        refusals = [answer for answer in answers if isinstance(answer, Refusal)]
        rows = chunk.rows
        if self._job.predict.on_error == "skip" and refusals:
            if rows is not None:
                rows = rows.take([n for n, each in enumerate(answers) if isinstance(each, Answer)])
            answers = [answer for answer in answers if isinstance(answer, Answer)]
        if self._job.format == "jsonl":
            content = jsonl_part(answers)
        else:
            if rows is not None and self._job.predict.text_column in rows.schema.names:
                rows = rows.drop_columns(self._job.predict.text_column)
            labels = self._predictor.classifier.labels
            content = parquet_part(answers, labels, self._job.columns, rows)
        self._output.write(part_name(number, chunk, self._job.format), content)
        return Scored(
            Counter(each.prediction.label for each in answers if isinstance(each, Answer)),
            len(refusals),
            [refusal.error for refusal in refusals[:MOST_ERRORS_TOLD]],
        )
