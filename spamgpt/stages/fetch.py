"""fetch: brings a data set and a pretrained model into the workspace."""

import tempfile
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from spamgpt.bundled import MESSAGES_FILE, MESSAGES_NAME, MINI_FOLDER, MINI_NAME
from spamgpt.errors import NetworkError
from spamgpt.reporting import SILENT, Reporter
from spamgpt.workspace import Artifact, Draft, Workspace, sha256

Weights = Literal["pretrained", "random"]

# What is fetched when nothing is named, and what is taken where that cannot be reached.
PREFERRED_DATASET, PREFERRED_MODEL = "sms-spam-collection", "gpt2"


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
    nothing is written. What stands in for something else is recorded in its artifact and warned of.
    Raises NetworkError, IntegrityError, MissingInputError, BadDataError, ModelFormatError, or
    UsageError for a `model` that is not written as it should be.
    """
    from spamgpt.sources.models import model_name

    if settings.model:
        model_name(settings.model)  # an unknown name is told before anything is downloaded
    dataset = _present_dataset(settings, workspace)
    model = _present_model(settings, workspace)
    if dataset and model:
        return dataset, model
    network = _Network(settings, dataset is None, model is None)
    if dataset:
        return dataset, _fetch_model(settings, workspace, reporter, network)
    return _fetch_dataset(settings, workspace, reporter, network, model)


class _Network:
    """Whether any server that is wanted answers; they are asked at the first question."""

    def __init__(self, settings: FetchSettings, wants_dataset: bool, wants_model: bool) -> None:
        self._servers = (wants_dataset and not settings.dataset, wants_model and not settings.model)

    @cached_property
    def _answers(self) -> bool:
        from huggingface_hub import constants

        from spamgpt.sources.datasets import SMS_SPAM_COLLECTION
        from spamgpt.sources.reachability import any_answers

        dataset, model = self._servers
        hub = [constants.ENDPOINT] if model and not constants.HF_HUB_OFFLINE else []
        return any_answers([*(SMS_SPAM_COLLECTION.urls if dataset else ()), *hub])

    def require(self) -> None:
        """Raises NetworkError if none answers, in seconds, where a download would go on trying."""
        if not self._answers:
            raise NetworkError("no server answered", "Check the network.")


def _fetch_dataset(
    settings: FetchSettings,
    workspace: Workspace,
    reporter: Reporter,
    network: _Network,
    model: Artifact | None,
) -> tuple[Artifact, Artifact]:
    from spamgpt.data.rows import LABEL
    from spamgpt.data.tables import read_labelled_file, require_labels, write_table
    from spamgpt.sources.datasets import obtain_dataset

    with tempfile.TemporaryDirectory(prefix="spamgpt-") as downloads:
        folder = Path(downloads)
        substituted = None
        source = settings.dataset or (MESSAGES_NAME if settings.offline else PREFERRED_DATASET)
        try:
            if not settings.dataset and not settings.offline:
                network.require()
            found = obtain_dataset(source, folder, reporter)
        except NetworkError as error:
            if settings.dataset:
                raise
            substituted = _Substituted("data set", source, MESSAGES_NAME, error.message)
            substituted.tell(reporter)
            source = MESSAGES_NAME
            found = obtain_dataset(source, folder, reporter)
        messages = read_labelled_file(found.file, source=found.origin)
        if LABEL in messages:
            require_labels(messages, LABEL, found.origin)
        with workspace.new(
            "datasets", _DatasetSettings(source), name=found.name, reuse=True
        ) as draft:
            write_table(messages, draft.folder / "messages.csv")
            draft.counts["messages"] = len(messages)
            draft.counts["columns"] = list(messages.columns)
            if LABEL in messages:
                draft.counts["labels"] = messages[LABEL].value_counts().sort_index().to_dict()
            draft.counts["origin"] = found.origin
            draft.counts["sha256"] = sha256(found.file)
            if substituted:
                substituted.record(draft)
            # Inside the block: should the model fail, the data set is not kept either.
            model = model or _fetch_model(settings, workspace, reporter, network)
    return draft.artifact, model


def _fetch_model(
    settings: FetchSettings, workspace: Workspace, reporter: Reporter, network: _Network
) -> Artifact:
    from spamgpt.sources.models import is_cached

    if settings.model or settings.offline:
        return _store_model(settings.model or MINI_NAME, settings, workspace, reporter, None)
    try:
        if not is_cached(PREFERRED_MODEL, with_weights=settings.weights == "pretrained"):
            network.require()
        return _store_model(PREFERRED_MODEL, settings, workspace, reporter, None)
    except NetworkError as error:
        substituted = _Substituted("model", PREFERRED_MODEL, MINI_NAME, error.message)
        substituted.tell(reporter)
        return _store_model(MINI_NAME, settings, workspace, reporter, substituted)


def _store_model(
    source: str,
    settings: FetchSettings,
    workspace: Workspace,
    reporter: Reporter,
    substituted: "_Substituted | None",
) -> Artifact:
    from spamgpt.gpt2.config import GPT2Config
    from spamgpt.gpt2.folder import CONFIG_FILE, WEIGHTS_FILE
    from spamgpt.sources.models import PUBLISHED_MODELS, model_name, obtain_model

    random = settings.weights == "random"
    recorded = _model_settings(source, settings)
    with workspace.new("models", recorded, name=model_name(source), reuse=True) as draft:
        obtained = obtain_model(source, draft.folder, reporter, with_weights=not random)
        draft.digests.update(obtained.digests)
        config = GPT2Config.from_file(draft.folder / CONFIG_FILE)
        if random:
            from spamgpt.gpt2.weights import random_weights, write_weights

            write_weights(random_weights(config, settings.seed), draft.folder / WEIGHTS_FILE)
        if random or source not in (*PUBLISHED_MODELS, MINI_NAME):
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
        if substituted:
            substituted.record(draft)
    return draft.artifact


@dataclass(frozen=True)
class _Substituted:
    """What stands in for what, and why."""

    what: str
    wanted: str
    used: str
    reason: str

    def tell(self, reporter: Reporter) -> None:
        option = {"data set": "--dataset", "model": "--model"}[self.what]
        reporter.warn(
            f"The {self.what} {self.wanted} could not be fetched: {self.reason.rstrip('.')}."
        )
        reporter.warn(
            f"USING THE BUNDLED {self.used} INSTEAD. To insist: spamgpt fetch {option} "
            f"{self.wanted}. To do without the network: --offline."
        )

    def record(self, draft: Draft) -> None:
        draft.counts["in_place_of"] = {"wanted": self.wanted, "reason": self.reason}
        draft.substitutions.append(
            f"{self.used}, bundled with spamgpt, stands in for the {self.what} {self.wanted}, "
            "which could not be fetched."
        )


def _model_settings(source: str, settings: FetchSettings) -> _ModelSettings:
    seed = settings.seed if settings.weights == "random" else None
    return _ModelSettings(source, settings.weights, seed)


def _present_dataset(settings: FetchSettings, workspace: Workspace) -> Artifact | None:
    """The data set, if an earlier fetch brought it, from wherever it was."""
    from spamgpt.sources.datasets import SMS_SPAM_COLLECTION

    newest = workspace.newest("datasets") if workspace.folders("datasets") else None
    if newest is None:
        return None
    if settings.model and not settings.dataset:
        return _whole(newest)
    if settings.dataset == SMS_SPAM_COLLECTION.name or not (settings.dataset or settings.offline):
        name, digest = SMS_SPAM_COLLECTION.name, SMS_SPAM_COLLECTION.sha256
    elif settings.dataset in (None, MESSAGES_NAME):
        name, digest = MESSAGES_NAME, sha256(MESSAGES_FILE)
    else:
        return None
    if (newest.name, newest.counts.get("sha256")) != (name, digest) or newest.substitutions:
        return None
    return _whole(newest)


def _present_model(settings: FetchSettings, workspace: Workspace) -> Artifact | None:
    """The model, if an earlier fetch brought it."""
    from spamgpt.sources.models import PUBLISHED_MODELS

    newest = workspace.newest("models") if workspace.folders("models") else None
    if newest is None:
        return None
    if settings.dataset and not settings.model:
        return _whole(newest)
    source = settings.model or (MINI_NAME if settings.offline else PREFERRED_MODEL)
    if source not in (*PUBLISHED_MODELS, MINI_NAME) or newest.substitutions:
        return None
    if newest.settings != asdict(_model_settings(source, settings)):
        return None
    if source == MINI_NAME and not _is_bundled(newest, settings):
        return None  # of another version of spamgpt
    return _whole(newest)


def _is_bundled(model: Artifact, settings: FetchSettings) -> bool:
    from spamgpt.gpt2.folder import FINETUNING_FILE, MODEL_FILES, WEIGHTS_FILE

    return all(
        model.manifest["files"].get(name, {}).get("sha256") == sha256(MINI_FOLDER / name)
        for name in (*MODEL_FILES, FINETUNING_FILE)
        if name != WEIGHTS_FILE or settings.weights == "pretrained"
    )


def _whole(artifact: Artifact) -> Artifact:
    for name in artifact.files:
        artifact.check(name)
    return artifact
