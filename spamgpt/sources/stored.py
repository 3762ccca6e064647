"""What an earlier fetch brought: how artifacts record their source, and which are as wanted."""

from dataclasses import asdict, dataclass

from spamgpt.bundled import MESSAGES_FILE, MESSAGES_NAME, MINI_FOLDER, MINI_NAME
from spamgpt.gpt2.folder import FINETUNING_FILE, MODEL_FILES, WEIGHTS_FILE
from spamgpt.workspace import Artifact, Workspace, sha256


@dataclass(frozen=True)
class DatasetSource:
    """What a data set's artifact records as its settings; several sources were joined."""

    source: str | list[str]


@dataclass(frozen=True)
class ModelSource:
    """What a model's artifact records as its settings; `seed` is that of random weights."""

    source: str
    weights: str
    seed: int | None


def newest_of(kind: str, workspace: Workspace) -> Artifact | None:
    """The newest artifact of a kind with all its files as recorded, from wherever it came.

    None if there is none; raises IntegrityError if it is damaged.
    """
    return _whole(workspace.newest(kind)) if workspace.folders(kind) else None


def stored_dataset(source: str, workspace: Workspace) -> Artifact | None:
    """The newest data set if it is the published or bundled one of this name.

    Files and URLs are read again: they may have changed. Raises IntegrityError if it is damaged.
    """
    from spamgpt.sources.datasets import SMS_SPAM_COLLECTION

    newest = workspace.newest("datasets") if workspace.folders("datasets") else None
    if newest is None or newest.substitutions or newest.name != source:
        return None
    digests = {
        SMS_SPAM_COLLECTION.name: SMS_SPAM_COLLECTION.sha256,
        MESSAGES_NAME: sha256(MESSAGES_FILE),
    }
    if newest.metadata.get("sha256") != digests.get(source, ""):
        return None
    return _whole(newest)


def stored_model(source: ModelSource, workspace: Workspace) -> Artifact | None:
    """The newest model if it is the published or bundled one of this name.

    Raises IntegrityError if it is damaged.
    """
    from spamgpt.sources.models import is_published

    newest = workspace.newest("models") if workspace.folders("models") else None
    if newest is None or newest.substitutions or newest.settings != asdict(source):
        return None
    if not is_published(source.source):
        return None
    if source.source == MINI_NAME and not _is_bundled(newest):
        return None  # of another version of spamgpt
    return _whole(newest)


def find_model(named: str | None, weights: str, workspace: Workspace) -> Artifact | None:
    """The newest model of a name or reference (None: any) with these weights; None if none is.

    "random" finds what was drawn for the shape of a model, "pretrained" everything else.
    """
    for model in reversed(workspace.artifacts("models")):
        names = (model.name, f"{model.name}/{model.folder.name}", model.reference)
        drawn = model.settings.get("weights") == "random"
        if (named is None or named in names) and drawn == (weights == "random"):
            return _whole(model)
    return None


def _is_bundled(model: Artifact) -> bool:
    return all(
        model.manifest["files"].get(name, {}).get("sha256") == sha256(MINI_FOLDER / name)
        for name in (*MODEL_FILES, FINETUNING_FILE)
        if name != WEIGHTS_FILE or model.settings["weights"] == "pretrained"
    )


def _whole(artifact: Artifact) -> Artifact:
    for name in artifact.files:
        artifact.check(name)
    return artifact
