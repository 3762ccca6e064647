"""fetch: brings a data set and a pretrained model into the workspace."""

import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from spamgpt.reporting import SILENT, Reporter
from spamgpt.workspace import Artifact, Workspace, sha256

Weights = Literal["pretrained", "random"]


@dataclass(frozen=True)
class FetchSettings:
    """`dataset` and `model` are published names, paths or addresses.

    With `weights` "random" only the shape and the tokenizer of the model are taken, and its weights
    are drawn with `seed` as GPT-2's were before training.
    """

    dataset: str = "sms-spam-collection"
    model: str = "gpt2"
    weights: Weights = "pretrained"
    seed: int = 123


@dataclass(frozen=True)
class _DatasetSettings:
    source: str


@dataclass(frozen=True)
class _ModelSettings:
    source: str
    weights: str
    seed: int | None


def run(
    settings: FetchSettings, workspace: Workspace, reporter: Reporter = SILENT
) -> tuple[Artifact, Artifact]:
    """Fetches both; returns the data set and the model.

    What the workspace already has is not fetched again. Either both arrive or, on an error,
    nothing is written. Raises NetworkError, IntegrityError, MissingInputError, BadDataError,
    ModelFormatError, or UsageError for a `model` that is not written as it should be.
    """
    from spamgpt.sources.models import model_name

    model_name(settings.model)  # a name that does not exist is told before anything is downloaded
    dataset = _present_dataset(settings, workspace)
    model = _present_model(settings, workspace)
    if dataset and model:
        return dataset, model
    if dataset:
        return dataset, _fetch_model(settings, workspace, reporter)
    return _fetch_dataset(settings, workspace, reporter, model)


def _fetch_dataset(
    settings: FetchSettings, workspace: Workspace, reporter: Reporter, model: Artifact | None
) -> tuple[Artifact, Artifact]:
    from spamgpt.data.rows import LABEL
    from spamgpt.data.tables import read_labelled_file, require_labels, write_table
    from spamgpt.sources.datasets import obtain_dataset

    with tempfile.TemporaryDirectory(prefix="spamgpt-") as downloads:
        found = obtain_dataset(settings.dataset, Path(downloads), reporter)
        messages = read_labelled_file(found.file, source=found.origin)
        if LABEL in messages:
            require_labels(messages, LABEL, found.origin)
        with workspace.new(
            "datasets", _DatasetSettings(settings.dataset), name=found.name, reuse=True
        ) as draft:
            write_table(messages, draft.folder / "messages.csv")
            draft.counts["messages"] = len(messages)
            draft.counts["columns"] = list(messages.columns)
            if LABEL in messages:
                draft.counts["labels"] = messages[LABEL].value_counts().sort_index().to_dict()
            draft.counts["origin"] = found.origin
            draft.counts["sha256"] = sha256(found.file)
            # Inside the block: should the model fail, the data set is not kept either.
            model = model or _fetch_model(settings, workspace, reporter)
    return draft.artifact, model


def _fetch_model(settings: FetchSettings, workspace: Workspace, reporter: Reporter) -> Artifact:
    from spamgpt.gpt2.config import GPT2Config
    from spamgpt.gpt2.folder import CONFIG_FILE, WEIGHTS_FILE
    from spamgpt.sources.models import PUBLISHED_MODELS, model_name, obtain_model

    random = settings.weights == "random"
    name = model_name(settings.model)
    with workspace.new("models", _model_settings(settings), name=name, reuse=True) as draft:
        obtained = obtain_model(settings.model, draft.folder, reporter, with_weights=not random)
        draft.digests.update(obtained.digests)
        config = GPT2Config.from_file(draft.folder / CONFIG_FILE)
        if random:
            from spamgpt.gpt2.weights import random_weights, write_weights

            write_weights(random_weights(config, settings.seed), draft.folder / WEIGHTS_FILE)
        if random or settings.model not in PUBLISHED_MODELS:
            # Published files are known by their hashes; any others are tried now, not at training.
            from spamgpt.gpt2.config import ModelFormatError
            from spamgpt.gpt2.folder import load_folder

            try:
                load_folder(draft.folder)
            except ModelFormatError as error:
                # The draft will be gone: the message names where the files came from.
                message = str(error).replace(str(draft.folder), obtained.origin)
                raise ModelFormatError(message) from error
        draft.counts.update(
            n_layer=config.n_layer,
            n_head=config.n_head,
            n_embd=config.n_embd,
            weights=settings.weights,
            origin=obtained.origin,
        )
    return draft.artifact


def _model_settings(settings: FetchSettings) -> _ModelSettings:
    seed = settings.seed if settings.weights == "random" else None
    return _ModelSettings(settings.model, settings.weights, seed)


def _present_dataset(settings: FetchSettings, workspace: Workspace) -> Artifact | None:
    """The published data set, if an earlier fetch brought it, from wherever it was."""
    from spamgpt.sources.datasets import SMS_SPAM_COLLECTION as PUBLISHED

    if settings.dataset != PUBLISHED.name:
        return None
    newest = _newest(workspace, "datasets", PUBLISHED.name)
    if newest is None or newest.counts.get("sha256") != PUBLISHED.sha256:
        return None
    return _whole(newest)


def _present_model(settings: FetchSettings, workspace: Workspace) -> Artifact | None:
    from spamgpt.sources.models import PUBLISHED_MODELS

    if settings.model not in PUBLISHED_MODELS:
        return None
    newest = _newest(workspace, "models", settings.model)
    if newest is None or newest.settings != asdict(_model_settings(settings)):
        return None
    return _whole(newest)


def _newest(workspace: Workspace, kind: str, name: str) -> Artifact | None:
    """The newest artifact of a kind, if it has this name: what the next stage would take."""
    newest = workspace.newest(kind) if workspace.folders(kind) else None
    return newest if newest and newest.name == name else None


def _whole(artifact: Artifact) -> Artifact:
    for name in artifact.files:
        artifact.check(name)
    return artifact
