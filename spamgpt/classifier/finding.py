"""Which classifier a user means: a version in the workspace, the bundled one, a folder, a file."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from spamgpt.bundled import CLASSIFIER_FOLDER, MINI_FOLDER
from spamgpt.classifier.config import CONFIG_FILE, TRAINED_FILE
from spamgpt.device import Device, Precision
from spamgpt.errors import MissingInputError, UsageError
from spamgpt.gpt2.folder import MODEL_FILES
from spamgpt.workspace import Artifact, Workspace, version_number

if TYPE_CHECKING:
    from spamgpt.classifier.base import TextClassifier
    from spamgpt.classifier.model import SpamClassifier

# What the classifier that comes with the package is called.
BUNDLED = "bundled"


def find_classifier(
    named: str | None,
    workspace: Workspace,
    device: Device = "auto",
    precision: Precision = "auto",
    max_batch_tokens: int | None = None,
) -> "tuple[str, Artifact | None, SpamClassifier]":
    """The classifier a user named, what it is called, and its artifact if it is in the workspace.

    `named` is a version (`v3`), BUNDLED, or the path of a bundle or of a folder that
    `SpamClassifier.from_pretrained` loads; None is the newest, or BUNDLED if there is none. Raises
    MissingInputError, IntegrityError, BadDataError or UsageError.
    """
    from spamgpt.classifier.model import SpamClassifier

    name, artifact = which_classifier(named, workspace)
    chosen = device, precision, max_batch_tokens
    if artifact:
        classifier = SpamClassifier.from_artifact(workspace, artifact, *chosen)
    elif name == BUNDLED:
        classifier = SpamClassifier.bundled(*chosen)
    else:
        classifier = SpamClassifier.from_pretrained(name, None, *chosen)
    return name, artifact, classifier


def find_quick_classifier(
    named: str | None,
    workspace: Workspace,
    device: Device = "auto",
    precision: Precision = "auto",
    max_batch_tokens: int | None = None,
) -> "tuple[str, Artifact | None, TextClassifier]":
    """As `find_classifier`, but ready before torch is loaded, where that is possible.

    It is for a classifier of a workspace and the bundled one, on the processor and in float32,
    unless another device or precision is asked for.
    """
    from spamgpt.classifier.quick import read_quickly

    chosen = device, precision, max_batch_tokens
    name, artifact = which_classifier(named, workspace)
    in_torch = device not in ("auto", "cpu") or precision not in ("auto", "fp32")
    if in_torch or (artifact is None and name != BUNDLED):
        return find_classifier(named, workspace, *chosen)
    folder, pretrained = CLASSIFIER_FOLDER, MINI_FOLDER
    if artifact:
        model = workspace.input_of(artifact, "models")
        for file in (CONFIG_FILE, TRAINED_FILE):
            artifact.check(file)
        for file in MODEL_FILES:
            model.check(file)
        folder, pretrained = artifact.folder, model.folder

    load = partial(loaded, artifact.reference if artifact else name, workspace, *chosen)
    return name, artifact, read_quickly(folder, pretrained, load, max_batch_tokens)


def loaded(
    named: str,
    workspace: Workspace,
    device: Device = "auto",
    precision: Precision = "auto",
    max_batch_tokens: int | None = None,
) -> "SpamClassifier":
    """The classifier that `find_classifier` gives, for another process to load."""
    return find_classifier(named, workspace, device, precision, max_batch_tokens)[2]


def which_classifier(named: str | None, workspace: Workspace) -> tuple[str, Artifact | None]:
    """What the classifier that `find_classifier` loads is called, and its artifact."""
    if named is not None and not named.strip():
        raise UsageError(
            "`classifier` is empty.", "Name a classifier, or leave it out for the newest one."
        )
    if named == BUNDLED or (named is None and not workspace.folders("classifiers")):
        return BUNDLED, None
    if named is None or version_number(named.removeprefix("classifiers/")):
        artifact = workspace.newest("classifiers", named)
        return artifact.reference, artifact
    if not Path(named).exists():
        raise MissingInputError(
            f"There is no classifier {named!r}.",
            f"Give a version such as v1, {BUNDLED}, a folder, or a .spamgpt file.",
        )
    return named, None
