"""export: a classifier leaves for transformers, the Hub, onnxruntime, or as one file."""

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from spamgpt.device import Device
from spamgpt.errors import UsageError
from spamgpt.reporting import SILENT, Reporter
from spamgpt.stages.classifiers import find_classifier
from spamgpt.workspace import NO_EFFECT, Artifact, Workspace

if TYPE_CHECKING:
    from spamgpt.classifier.formats.onnx import Agreement
    from spamgpt.classifier.model import SpamClassifier

HUGGINGFACE, ONNX, BUNDLE, HUB = "huggingface", "onnx", "bundle", "hub:"


@dataclass(frozen=True)
class ExportSettings:
    """`classifier` is what `find_classifier` takes, `to` a format or `hub:owner/name`.

    `target` is the folder or file to write; the Hub needs none. `int8` is for ONNX.
    """

    classifier: str
    to: str
    target: Path | None = None
    int8: bool = False
    device: Device = field(default="auto", metadata=NO_EFFECT)


@dataclass(frozen=True)
class Exported:
    """What was written where, from what: a path or the address of a repository.

    `agreement` is that of an ONNX file with the classifier.
    """

    classifier: str
    to: str
    target: str
    size: int | None = None
    agreement: "Agreement | None" = None


def run(settings: ExportSettings, workspace: Workspace, reporter: Reporter = SILENT) -> Exported:
    """Writes the classifier in the format, all of it or nothing; the workspace stays as it is.

    Raises UsageError, MissingInputError, IntegrityError, BadDataError or NetworkError.
    """
    _check(settings)
    name, artifact, classifier = find_classifier(
        settings.classifier, workspace, settings.device, "fp32"
    )
    if settings.to.startswith(HUB):
        return Exported(name, settings.to, _upload(classifier, settings.to, reporter))
    assert settings.target is not None, "checked above"
    target, agreement = settings.target, None
    if settings.to == HUGGINGFACE:
        classifier.to_huggingface(target)
    elif settings.to == BUNDLE:
        classifier.to_bundle(target)
    else:
        texts = _validation_texts(artifact, workspace)
        agreement = classifier.to_onnx(target, settings.int8, texts)
    return Exported(name, settings.to, str(target), _size(target), agreement)


def _check(settings: ExportSettings) -> None:
    """Raises UsageError for settings that do not go together."""
    to_hub = settings.to.startswith(HUB)
    if not to_hub and settings.to not in (HUGGINGFACE, ONNX, BUNDLE):
        raise UsageError(
            f"`to` is {settings.to!r}.", f"Use {HUGGINGFACE}, hub:owner/name, {ONNX} or {BUNDLE}."
        )
    if to_hub and settings.target is not None:
        raise UsageError(
            f"{settings.to} is written to no path: {settings.target}.", "Leave the path out."
        )
    if not to_hub and settings.target is None:
        raise UsageError(
            "The place to write to is missing.",
            "Name it last, as the examples of spamgpt export --help do.",
        )
    if settings.int8 and settings.to != ONNX:
        raise UsageError("`int8` is for ONNX.", f"Use `to={ONNX}`, or leave it out.")


def _upload(classifier: "SpamClassifier", target: str, reporter: Reporter) -> str:
    from spamgpt.sources.hub import upload_classifier

    with tempfile.TemporaryDirectory(prefix="spamgpt-") as folder:
        classifier.to_huggingface(folder)
        return upload_classifier(Path(folder), target, reporter)


def _validation_texts(artifact: Artifact | None, workspace: Workspace) -> list[str] | None:
    """Messages of the kind that a classifier is for; None where none are at hand."""
    from spamgpt.classifier.model import MOST_MEASURED
    from spamgpt.data.rows import TEXT
    from spamgpt.errors import MissingInputError
    from spamgpt.stages.evaluate import read_split

    if artifact is None:
        return None
    try:
        prepared = workspace.input_of(artifact, "prepared")
    except MissingInputError:
        return None
    return list(read_split(prepared, "validation")[TEXT])[:MOST_MEASURED]


def _size(target: Path) -> int:
    """Bytes of a file, with what stands beside it, or of the files of a folder."""
    files = target.iterdir() if target.is_dir() else target.parent.glob(f"{target.name}*")
    return sum(path.stat().st_size for path in files)
