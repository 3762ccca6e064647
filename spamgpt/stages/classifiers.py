"""Which classifier a user means: a version in the workspace, the bundled one, a folder, a file."""

from pathlib import Path
from typing import TYPE_CHECKING

from spamgpt.device import Device, Precision
from spamgpt.errors import MissingInputError, UsageError
from spamgpt.workspace import Artifact, Workspace, version_number

if TYPE_CHECKING:
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

    if named is not None and not named.strip():
        raise UsageError(
            "`classifier` is empty.", "Name a classifier, or leave it out for the newest one."
        )
    chosen = device, precision, max_batch_tokens
    if named == BUNDLED or (named is None and not workspace.folders("classifiers")):
        return BUNDLED, None, SpamClassifier.bundled(*chosen)
    if named is None or version_number(named.removeprefix("classifiers/")):
        artifact = workspace.newest("classifiers", named)
        classifier = SpamClassifier.from_artifact(workspace, artifact, *chosen)
        return artifact.reference, artifact, classifier
    if not Path(named).exists():
        raise MissingInputError(
            f"There is no classifier {named!r}.",
            f"Give a version such as v1, {BUNDLED}, a folder, or a .spamgpt file.",
        )
    return named, None, SpamClassifier.from_pretrained(named, None, *chosen)
