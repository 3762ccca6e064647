"""fetch: brings a data set and a pretrained model into the workspace."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from spamgpt.bundled import MESSAGES_NAME, MINI_NAME
from spamgpt.reporting import SILENT, Reporter
from spamgpt.workspace import Artifact, Workspace, sha256

if TYPE_CHECKING:
    from spamgpt.sources.datasets import FetchedDataset
    from spamgpt.sources.preferred import Network, Substitution
    from spamgpt.sources.stored import ModelSource

Weights = Literal["pretrained", "random"]


@dataclass(frozen=True)
class FetchSettings:
    """`dataset` and `model` are published names, paths or addresses.

    None takes the preferred ones or, where these cannot be reached, the bundled ones; with
    `offline` the bundled ones at once. If only one of the two is named and the workspace has the
    other already, that is left as it is. With `weights` "random" only the shape and the tokenizer
    of the model are taken, and its weights are drawn with `seed` as GPT-2's were before training.
    """

    dataset: str | None = None
    model: str | None = None
    weights: Weights = "pretrained"
    seed: int = 123
    offline: bool = False


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
    dataset = newest_of("datasets", workspace) if settings.model and not settings.dataset else None
    dataset = dataset or stored_dataset(_dataset_source(settings), workspace)
    model = newest_of("models", workspace) if settings.dataset and not settings.model else None
    model = model or stored_model(_model_source(settings), workspace)
    if dataset and model:
        return dataset, model
    network = Network(
        for_dataset=not (dataset or settings.dataset), for_model=not (model or settings.model)
    )
    if dataset:
        return dataset, _fetch_model(settings, workspace, reporter, network)
    return _fetch_dataset(settings, workspace, reporter, network, model)


def _dataset_source(settings: FetchSettings) -> str:
    from spamgpt.sources.preferred import PREFERRED_DATASET

    return settings.dataset or (MESSAGES_NAME if settings.offline else PREFERRED_DATASET)


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
    from spamgpt.data.tables import read_labelled_file, require_labels, write_table
    from spamgpt.sources.stored import DatasetSource

    with tempfile.TemporaryDirectory(prefix="spamgpt-") as downloads:
        found, substitution = _obtain_dataset(settings, Path(downloads), reporter, network)
        messages = read_labelled_file(found.file, source=found.origin)
        if LABEL in messages:
            require_labels(messages, LABEL, found.origin)
        source = substitution.used if substitution else _dataset_source(settings)
        with workspace.new("datasets", DatasetSource(source), name=found.name, reuse=True) as draft:
            write_table(messages, draft.folder / "messages.csv")
            draft.metadata["messages"] = len(messages)
            draft.metadata["columns"] = list(messages.columns)
            if LABEL in messages:
                draft.metadata["labels"] = messages[LABEL].value_counts().sort_index().to_dict()
            draft.metadata["origin"] = found.origin
            draft.metadata["sha256"] = sha256(found.file)
            if substitution:
                substitution.record(draft)
            # Inside the block: should the model fail, the data set is not kept either.
            model = model or _fetch_model(settings, workspace, reporter, network)
    return draft.artifact, model


def _obtain_dataset(
    settings: FetchSettings, folder: Path, reporter: Reporter, network: "Network"
) -> "tuple[FetchedDataset, Substitution | None]":
    from spamgpt.sources.datasets import obtain_dataset
    from spamgpt.sources.preferred import fetch_or_substitute

    def fetch(
        source: str, substitution: "Substitution | None"
    ) -> "tuple[FetchedDataset, Substitution | None]":
        if not substitution:
            network.require()
        return obtain_dataset(source, folder, reporter), substitution

    wanted = _dataset_source(settings)
    if settings.dataset or settings.offline:
        return obtain_dataset(wanted, folder, reporter), None
    return fetch_or_substitute("dataset", wanted, MESSAGES_NAME, fetch, reporter)


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
