"""fetch: brings a data set and a pretrained model into the workspace."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from spamgpt.bundled import MESSAGES_NAME, MINI_NAME
from spamgpt.device import memory_problem
from spamgpt.errors import BadDataError
from spamgpt.reporting import SILENT, Reporter
from spamgpt.workspace import Artifact, Workspace, artifact_name, sha256

if TYPE_CHECKING:
    import pandas as pd

    from spamgpt.sources.datasets import FetchedDataset
    from spamgpt.sources.preferred import Network, Substitution
    from spamgpt.sources.stored import ModelSource

Weights = Literal["pretrained", "random"]

# The bytes of a random weight.
_FLOAT32 = 4
# Of the name of an artifact that several data sets went into.
_LONGEST_NAME = 100


@dataclass(frozen=True)
class FetchSettings:
    """`dataset` and `model` are published names, paths or addresses.

    Several data sets are joined; the column `source` keeps their names. `labelled` are paths of
    messages, each with the label of all that is there, such as `("spam", "junk.mbox")`; together
    they are one more data set. `encoding` is that of data files (None: UTF-8, or what a byte order
    mark says).

    None takes the preferred ones or, where these cannot be reached, the bundled ones; with
    `offline` the bundled ones at once. If only one of the two is named and the workspace has the
    other already, that is left as it is. With `weights` "random" only the shape and the tokenizer
    of the model are taken, and its weights are drawn with `seed` as GPT-2's were before training.
    """

    dataset: str | Sequence[str] | None = None
    model: str | None = None
    weights: Weights = "pretrained"
    seed: int = 123
    offline: bool = False
    labelled: Sequence[tuple[str, str]] = ()
    encoding: str | None = None

    @property
    def datasets(self) -> Sequence[str]:
        """The data sets that are named, without what is labelled by path."""
        return [self.dataset] if isinstance(self.dataset, str) else self.dataset or []

    @property
    def names_data(self) -> bool:
        """Whether it says which messages are wanted."""
        return bool(self.datasets or self.labelled)


def run(
    settings: FetchSettings, workspace: Workspace, reporter: Reporter = SILENT
) -> tuple[Artifact, Artifact]:
    """Fetches both; returns the data set and the model.

    What the workspace already has is not fetched again. Either both arrive or, on an error,
    nothing is written. What stands in for something else is recorded in its artifact and warned of.
    Raises NetworkError, IntegrityError, MissingInputError, BadDataError, ModelFormatError, or
    UsageError for a `model` that is not written as it should be.
    """
    from spamgpt.sources.models import model_name
    from spamgpt.sources.preferred import Network
    from spamgpt.sources.stored import newest_of, stored_dataset, stored_model

    if settings.model:
        model_name(settings.model)  # an unknown name is told before anything is downloaded
    # Who names one of the two means that one: the other stays what it is.
    named = settings.names_data
    dataset = newest_of("datasets", workspace) if settings.model and not named else None
    if dataset is None and not settings.labelled and len(settings.datasets) < 2:
        dataset = stored_dataset(_dataset_source(settings), workspace)
    model = newest_of("models", workspace) if named and not settings.model else None
    model = model or stored_model(_model_source(settings), workspace)
    if dataset and model:
        return dataset, model
    network = Network(for_dataset=not (dataset or named), for_model=not (model or settings.model))
    if dataset:
        return dataset, _fetch_model(settings, workspace, reporter, network)
    return _fetch_dataset(settings, workspace, reporter, network, model)


def _dataset_source(settings: FetchSettings) -> str:
    """The one data set that is named, or else preferred."""
    from spamgpt.sources.preferred import PREFERRED_DATASET

    preferred = MESSAGES_NAME if settings.offline else PREFERRED_DATASET
    return settings.datasets[0] if settings.datasets else preferred


def _model_source(settings: FetchSettings, source: str | None = None) -> "ModelSource":
    from spamgpt.sources.preferred import PREFERRED_MODEL
    from spamgpt.sources.stored import ModelSource

    source = source or settings.model or (MINI_NAME if settings.offline else PREFERRED_MODEL)
    seed = settings.seed if settings.weights == "random" else None
    return ModelSource(source, settings.weights, seed)


def _fetch_dataset(
    settings: FetchSettings,
    workspace: Workspace,
    reporter: Reporter,
    network: "Network",
    model: Artifact | None,
) -> tuple[Artifact, Artifact]:
    """Writes the data set and, unless there is a `model`, also the model."""
    from spamgpt.data.rows import LABEL
    from spamgpt.data.tables import write_table
    from spamgpt.sources.stored import DatasetSource

    with tempfile.TemporaryDirectory(prefix="spamgpt-") as downloads:
        found, substitution = _obtain_datasets(settings, Path(downloads), reporter, network)
        messages = _read(found, settings.encoding, reporter)
        sources = [*settings.datasets, *(f"{label}={path}" for label, path in settings.labelled)]
        if not sources:
            sources = [substitution.used if substitution else _dataset_source(settings)]
        source = DatasetSource(sources[0] if len(sources) == 1 else sources)
        name = artifact_name("-".join(found))[:_LONGEST_NAME]
        with workspace.new("datasets", source, name=name, reuse=True) as draft:
            write_table(messages, draft.folder / "messages.csv")
            draft.metadata["messages"] = len(messages)
            draft.metadata["columns"] = list(messages.columns)
            if LABEL in messages:
                draft.metadata["labels"] = messages[LABEL].value_counts().sort_index().to_dict()
            draft.metadata["origin"] = " and ".join(each.origin for each in found.values())
            digests = {each: sha256(obtained.file) for each, obtained in found.items()}
            draft.metadata["sha256"] = digests if len(found) > 1 else digests.popitem()[1]
            if substitution:
                substitution.record(draft)
            # Inside the block: should the model fail, the data set is not kept either.
            model = model or _fetch_model(settings, workspace, reporter, network)
    return draft.artifact, model


def _obtain_datasets(
    settings: FetchSettings, folder: Path, reporter: Reporter, network: "Network"
) -> "tuple[dict[str, FetchedDataset], Substitution | None]":
    """What is wanted by name, no two of the same name, and what stands in for it."""
    from spamgpt.sources.datasets import obtain_dataset, obtain_labelled
    from spamgpt.sources.preferred import fetch_or_substitute

    def fetch(
        source: str, substitution: "Substitution | None"
    ) -> "tuple[FetchedDataset, Substitution | None]":
        if not substitution:
            network.require()
        return obtain_dataset(source, folder, reporter), substitution

    wanted = _dataset_source(settings)
    if not settings.names_data and not settings.offline:
        one, substitution = fetch_or_substitute("dataset", wanted, MESSAGES_NAME, fetch, reporter)
        return {one.name: one}, substitution
    names = settings.datasets if settings.names_data else [wanted]
    found: dict[str, FetchedDataset] = {}
    for each in (
        *(obtain_dataset(source, folder, reporter) for source in names),
        *([obtain_labelled(settings.labelled, folder, reporter)] if settings.labelled else ()),
    ):
        number = 2
        name = each.name
        while name in found:
            name, number = f"{each.name}-{number}", number + 1
        found[name] = each
    return found, None


def _read(
    found: "Mapping[str, FetchedDataset]", encoding: str | None, reporter: Reporter
) -> "pd.DataFrame":
    """The messages of all data sets. Raises BadDataError."""
    from spamgpt.data.labels import require_labels, require_two_labels
    from spamgpt.data.rows import LABEL, TEXT
    from spamgpt.data.tables import join_tables, read_labelled_file, require_columns

    tables = {}
    for name, each in found.items():
        tables[name] = read_labelled_file(each.file, each.origin, encoding)
        require_columns(tables[name], each.origin)
        for column in (LABEL, TEXT):
            if column not in tables[name]:
                reporter.note(
                    f"{each.origin} has no column {column!r}: say which one it is when you prepare "
                    f"it, with `{column}_column=NAME`"
                )
        if LABEL in tables[name]:
            require_labels(tables[name], LABEL, each.origin)
    messages = join_tables(tables) if len(tables) > 1 else next(iter(tables.values()))
    if LABEL in messages:
        require_two_labels(messages, " and ".join(each.origin for each in found.values()))
    return messages


def _fetch_model(
    settings: FetchSettings, workspace: Workspace, reporter: Reporter, network: "Network"
) -> Artifact:
    from spamgpt.sources.models import is_cached
    from spamgpt.sources.preferred import fetch_or_substitute

    def fetch(source: str, substitution: "Substitution | None") -> Artifact:
        if not substitution and not is_cached(source, settings.weights == "pretrained"):
            network.require()
        return _store_model(_model_source(settings, source), workspace, reporter, substitution)

    wanted = _model_source(settings)
    if settings.model or settings.offline:
        return _store_model(wanted, workspace, reporter, None)
    return fetch_or_substitute("model", wanted.source, MINI_NAME, fetch, reporter)


def _store_model(
    source: "ModelSource",
    workspace: Workspace,
    reporter: Reporter,
    substitution: "Substitution | None",
) -> Artifact:
    from spamgpt.gpt2.config import GPT2Config
    from spamgpt.gpt2.folder import CONFIG_FILE, WEIGHTS_FILE
    from spamgpt.sources.models import check_model, is_published, model_name, obtain_model

    with workspace.new("models", source, name=model_name(source.source), reuse=True) as draft:
        found = obtain_model(source.source, draft.folder, reporter, source.seed is None)
        draft.digests.update(found.digests)
        config = GPT2Config.from_file(draft.folder / CONFIG_FILE)
        if source.seed is not None:
            from spamgpt.gpt2.weights import random_weights, write_weights

            if problem := memory_problem(config.parameters, _FLOAT32):
                raise BadDataError(f"{found.origin}: {problem}.", "Take a smaller model.")
            write_weights(random_weights(config, source.seed), draft.folder / WEIGHTS_FILE)
        if source.seed is not None or not is_published(source.source):
            # Published files are known by their hashes; any others are tried now, not at training.
            check_model(draft.folder, found.origin)
        draft.metadata.update(
            n_layer=config.n_layer,
            n_head=config.n_head,
            n_embd=config.n_embd,
            weights=source.weights,
            origin=found.origin,
        )
        if substitution:
            substitution.record(draft)
    return draft.artifact
