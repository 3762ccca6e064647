"""score: classifies large inputs on a Ray cluster, each message once, also over several starts.

The folder of the answers says which inputs and settings they belong to. A job that is started again
does what is missing of it.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from itertools import filterfalse, islice
from typing import TYPE_CHECKING, Any, Literal

from spamgpt.addresses import without_query, without_secrets
from spamgpt.classifier.finding import find_classifier
from spamgpt.classifier.records import renamed
from spamgpt.data.binary import is_parquet
from spamgpt.data.chunks import MESSAGES_PER_CHUNK
from spamgpt.data.files import skipped
from spamgpt.data.stores import Folder, StoredFile, lines_at, stored_files
from spamgpt.errors import BadDataError, UsageError
from spamgpt.extras import require
from spamgpt.reporting import SILENT, Reporter
from spamgpt.stages.parts import Done, PartFormat, is_broken
from spamgpt.stages.predict import MOST_ERRORS_TOLD, PredictSettings, messages_of
from spamgpt.version import __version__
from spamgpt.workspace import Workspace, result_settings

if TYPE_CHECKING:
    from spamgpt.stages.cluster import Scored

MANIFEST = "_spamgpt.json"
_SCHEMA = 1


@dataclass(frozen=True)
class ScoreSettings:
    """`inputs` are paths and addresses of files and folders; `output` is a folder, or its address.

    The answers are written as `format`: jsonl, parquet, or auto, which is parquet where all inputs
    are. `address` is that of a Ray cluster; None starts one on this machine. `concurrency` is the
    number of workers (None: as many as there is room for), `num_gpus` the GPUs of each, `threads`
    its CPU threads. `chunk` is how many messages a file of answers has at most. `predict` says what
    is read and answered how.
    """

    inputs: tuple[str, ...]
    output: str
    predict: PredictSettings = field(default_factory=PredictSettings)
    format: Literal["auto", PartFormat] = "auto"
    address: str | None = None
    concurrency: int | None = None
    num_gpus: float = 0
    threads: int | None = None
    chunk: int = MESSAGES_PER_CHUNK


@dataclass
class Summary:
    """What a job did: messages of each label, those that cannot be read, those answered before."""

    output: str
    before: int
    labels: Counter[str] = field(default_factory=Counter)
    errors: int = 0

    def count(self, chunk: "Scored") -> None:
        """Counts a chunk that was answered."""
        self.labels.update(chunk.labels)
        self.errors += chunk.errors

    @property
    def messages(self) -> int:
        """All messages that are answered now."""
        return self.before + self.labels.total() + self.errors


def run(
    settings: ScoreSettings,
    workspace: Workspace,
    reporter: Reporter = SILENT,
    quiet: bool = True,
) -> Summary:
    """Answers what `output` does not have of the inputs; Ray shows its progress unless `quiet`.

    Raises MissingInputError without the extra or for an input or cluster that is not there,
    UsageError where the folder holds something else, BadDataError where errors end it all.
    """
    require("ray", "ray", "pyarrow")
    from spamgpt.stages.cluster import Job, Reading, cluster, score

    output = Folder(settings.output)
    any_name = settings.predict.input_format != "auto"
    found, left_out = stored_files(settings.inputs, any_name)
    if left_out:
        reporter.warn(skipped(list(map(without_secrets, left_out))))
    answers = without_query(output.place).rstrip("/") + "/"
    files = [file for file in found if not file.address.startswith(answers)]
    if not files:
        raise UsageError("All inputs are in the folder of the answers.", "Name other inputs.")
    name, artifact, classifier = find_classifier(
        settings.predict.classifier, workspace, "cpu", "fp32"
    )
    reporter.note(f"{name} answers.")
    for text in artifact.substitutions if artifact else ():
        reporter.warn(text)
    format = _format(settings, files)
    columns = _columns(settings.predict, files) if format == "parquet" else []
    digest = hashlib.sha256(classifier.bundle()).hexdigest()
    _claim(output, _manifest(settings, format, columns, digest, files))
    names = output.names()
    for name in filter(is_broken, names):
        output.remove(name)
    done = Done.from_names(filterfalse(is_broken, names))
    summary = Summary(output.place, sum(each.messages for each in done.values()))
    missing = [
        Reading(number, file.address, frozenset(there.chunks))
        for number, file in enumerate(files)
        if not (there := done.get(number, Done())).complete
    ]
    if done:
        reporter.note(f"Answered already: {summary.before:,} messages.")
    if not missing:
        return summary
    job = Job(
        settings.predict, format, columns, output.place, settings.chunk, settings.threads or 1
    )
    with (
        cluster(settings.address, quiet),
        closing(
            score(job, missing, classifier, settings.concurrency, settings.num_gpus, quiet)
        ) as chunks,
    ):
        for chunk in chunks:
            for error in islice(chunk.told, max(0, MOST_ERRORS_TOLD - summary.errors)):
                reporter.warn(error.message)
            summary.count(chunk)
    output.remove_drafts()
    return summary


def _format(settings: ScoreSettings, files: Sequence[StoredFile]) -> PartFormat:
    if settings.format != "auto":
        return settings.format
    return "parquet" if all(map(_is_parquet, files)) else "jsonl"


def _is_parquet(file: StoredFile) -> bool:
    return is_parquet(file.address)


def _columns(settings: PredictSettings, files: Sequence[StoredFile]) -> list[str]:
    """The columns besides the text of the first message that is not in a Parquet file."""
    for file in files:
        if not _is_parquet(file):
            with closing(lines_at(file.address)) as lines:
                for message in messages_of(settings, [(file.address, lines)]):
                    if not message.row.error:
                        return list(renamed(message.others))
    return []


def _manifest(
    settings: ScoreSettings,
    format: PartFormat,
    columns: Sequence[str],
    classifier: str,
    files: Sequence[StoredFile],
) -> dict[str, Any]:
    """What the answers depend on."""
    # The classifier is known by its digest, however it was named.
    told = {n: value for n, value in result_settings(settings.predict).items() if n != "classifier"}
    return {
        "schema": _SCHEMA,
        "spamgpt": __version__,
        "classifier": classifier,
        "settings": told,
        "format": format,
        "chunk": settings.chunk,
        "columns": list(columns),
        "files": [asdict(file) | {"address": without_secrets(file.address)} for file in files],
    }


def _claim(output: Folder, manifest: Mapping[str, Any]) -> None:
    """Writes the manifest into an empty folder. Raises UsageError for one with something else."""
    names = output.names()
    if not names:
        output.write(MANIFEST, json.dumps(manifest, indent=1).encode())
        return
    if MANIFEST not in names:
        raise UsageError(
            f"{output.place} is not empty, and holds no answers of such a job.",
            "Name another `output`.",
        )
    try:
        there = json.loads(output.read(MANIFEST))
    except ValueError as error:
        raise BadDataError(
            f"{output.place}/{MANIFEST} is damaged.", "Name another `output`."
        ) from error
    wanted = json.loads(json.dumps(manifest))
    if there != wanted:
        differ = [name for name in wanted if wanted[name] != there.get(name)]
        raise UsageError(
            f"{output.place} holds answers to something else ({', '.join(differ)} "
            f"{'differ' if len(differ) > 1 or differ == ['settings'] else 'differs'}).",
            "Name another `output`, or go on with the inputs and settings that it was begun with.",
        )
