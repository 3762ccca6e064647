"""Data sets of the Hugging Face Hub, `hf:owner/dataset[:config][@revision]`, as JSON lines."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, constants
from huggingface_hub.errors import (
    HFValidationError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from spamgpt.data.binary import json_line
from spamgpt.data.rows import LABEL, TEXT
from spamgpt.errors import BadDataError, NetworkError, SpamgptError, UsageError
from spamgpt.extras import require
from spamgpt.reporting import Reporter
from spamgpt.sources.models import heard_by, reason_of
from spamgpt.workspace import artifact_name

PREFIX = "hf:"
# The column that says which split of the data set a message was in.
SPLIT = "split"
_HINT = "Check the network, set HF_ENDPOINT to a mirror, or give a file: `dataset=FILE`"


@dataclass(frozen=True)
class HubDataset:
    """A repository of a data set, one of its configurations (None: the only one), a revision."""

    repository: str
    config: str | None
    revision: str | None

    @classmethod
    def parse(cls, source: str) -> "HubDataset":
        """Reads `hf:owner/dataset[:config][@revision]`; raises UsageError."""
        pattern = rf"{PREFIX}([\w.-]+/[\w.-]+)(?::([^@/]+))?(?:@([\w./-]+))?"
        match = re.fullmatch(pattern, source)
        if not match:
            raise UsageError(
                f"`dataset={source}` does not name a repository.",
                "Write hf:owner/dataset, hf:owner/dataset@revision or hf:owner/dataset:config.",
            )
        return cls(*match.groups())

    @property
    def name(self) -> str:
        """The name of its artifact."""
        return artifact_name("--".join([*self.repository.split("/"), *filter(None, [self.config])]))

    def at(self, commit: str) -> str:
        """How it is written with the commit that it was loaded from."""
        return f"{self.repository}{f':{self.config}' if self.config else ''}@{commit}"


def write_hub_dataset(source: HubDataset, file: Path, reporter: Reporter) -> str:
    """Writes all splits of a data set into a JSONL file; returns where exactly they came from.

    Splits are joined and told apart by the column `split`; those without labels are left out. The
    columns `label` and `text` are found where only one can be meant: one with a fixed set of labels
    (ClassLabel), whose numbers become names, and one of strings. All others are kept. Raises
    NetworkError, BadDataError, or MissingInputError without the library `datasets`.
    """
    require("hub", "datasets")
    import datasets

    if not reporter.shows_progress:
        datasets.disable_progress_bars()
    # What it cannot do it also raises.
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)
    with heard_by(reporter):
        commit = _commit(source)
        origin = source.at(commit)
        reporter.note(f"Fetching {origin} from the Hub")
        # Of the Hub's cache only the files as downloaded are kept.
        splits = _load(source, commit, file.parent / "datasets")
    reads = _columns(next(iter(splits.values())).features)
    renamed = {old: new for old, new in reads.items() if old != new}
    if renamed:
        told = " and ".join(f"{new} from {old!r}" for old, new in renamed.items())
        reporter.note(f"{origin}: reading {told}")
    written = False
    with file.open("wb") as lines:
        for name, split in splits.items():
            if LABEL in reads.values() and not any(row.get(LABEL) for row in _rows(split, reads)):
                reporter.note(f"{origin}: the split {name!r} has no labels and is left out")
                continue
            own = {SPLIT: name} if len(splits) > 1 and SPLIT not in split.features else {}
            for row in _rows(split, reads):
                lines.write(json_line(row | own))
                written = True
    if not written:
        raise BadDataError(f"{origin} holds no labelled messages.", "Name another data set.")
    return origin


def _commit(source: HubDataset) -> str:
    """The commit that the revision stands for. Raises NetworkError."""
    if Path(source.repository).exists():
        raise UsageError(
            f"The folder {source.repository} here would be taken for the Hub's data set.",
            "Run the command in another folder.",
        )
    try:
        info = HfApi(library_name="spamgpt").dataset_info(
            source.repository,
            revision=source.revision,
            timeout=constants.HF_HUB_ETAG_TIMEOUT,
        )
    except (RepositoryNotFoundError, RevisionNotFoundError, HFValidationError) as error:
        revision = f" at {source.revision}" if source.revision else ""
        reason = f"the Hub has no public data set of this name{revision}"
        raise _failure(source, reason) from error
    # As with models: the errors of several HTTP clients get through.
    except Exception as error:
        raise _failure(source, reason_of(error)) from error
    return str(info.sha)


def _load(source: HubDataset, commit: str, folder: Path) -> "Mapping[str, Any]":
    """The splits by name."""
    import datasets
    from datasets.data_files import EmptyDatasetError
    from datasets.exceptions import DatasetsError

    try:
        return dict(
            datasets.load_dataset(
                source.repository, source.config, revision=commit, cache_dir=str(folder)
            )
        )
    # The library tells an unknown configuration by ValueError and a script by RuntimeError.
    except (DatasetsError, EmptyDatasetError, ValueError, RuntimeError) as error:
        cause = error.__cause__ if isinstance(error.__cause__, Exception) else error
        raise BadDataError(
            f"{source.at(commit)} cannot be loaded: {reason_of(cause)}.",
            "Name a configuration (hf:owner/dataset:config) or another data set.",
        ) from error
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # a full disk
        raise _failure(source, reason_of(error)) from error


def _failure(source: HubDataset, reason: str) -> SpamgptError:
    return NetworkError(f"{source.repository} could not be downloaded: {reason}.", _HINT)


def _columns(features: Mapping[str, Any]) -> dict[str, str]:
    """Each column and the name that it gets."""
    names = {column: column for column in features}
    classes = [column for column, feature in features.items() if _class_names(feature)]
    if LABEL not in features and len(classes) == 1:
        names[classes[0]] = LABEL
    texts = [
        column
        for column, feature in features.items()
        if names[column] != LABEL and "string" in str(getattr(feature, "dtype", ""))
    ]
    if TEXT not in features and len(texts) == 1:
        names[texts[0]] = TEXT
    return names


def _class_names(feature: Any) -> list[str] | None:
    """The names of a ClassLabel, or of a list of them; None for anything else."""
    return getattr(feature, "names", None) or getattr(
        getattr(feature, "feature", None), "names", None
    )


def _rows(split: Any, columns: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """The rows with their columns as named, undecoded but for the numbers of classes."""
    classes = {
        column: names
        for column, feature in split.features.items()
        if (names := _class_names(feature))
    }
    for batch in split.with_format("arrow").iter(1000):
        for row in batch.to_pylist():
            for column, names in classes.items():
                row[column] = _named(row[column], names)
            yield {columns[column]: value for column, value in row.items()}


def _named(value: int | list[int] | None, names: list[str]) -> Any:
    """What numbers of classes stand for; -1 is how a missing label is written."""
    if isinstance(value, list):
        return [_named(each, names) for each in value]
    return None if value is None or value < 0 else names[value]
