"""export: a classifier leaves for transformers, the Hub, onnxruntime, or as one file."""

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from spamgpt.classifier.finding import find_classifier
from spamgpt.device import Device
from spamgpt.errors import UsageError
from spamgpt.reporting import SILENT, Reporter
from spamgpt.workspace import NO_EFFECT, Artifact, Workspace

if TYPE_CHECKING:
    from spamgpt.classifier.formats.agreement import Agreement

HUGGINGFACE, ONNX, BUNDLE, HUB = "huggingface", "onnx", "bundle", "hub:"


@dataclass(frozen=True)
class ExportSettings:
    """`classifier` is what `find_classifier` takes, `to` a format or `hub:owner/name`.

    `target` is the folder or file to write; the Hub needs none. `int8` is for ONNX. What has no
    place for n-grams, transformers and the Hub, gets GPT-2 alone `without_ngrams`.
    """

    classifier: str
    to: str
    target: Path | None = None
    int8: bool = False
    without_ngrams: bool = False
    device: Device = field(default="auto", metadata=NO_EFFECT)


@dataclass(frozen=True)
class Exported:
    """What was written where, from what: a path or the address of a repository.

    `agreement` with the classifier is that of an ONNX file, or of GPT-2 without the n-grams.
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
    measured = settings.to == ONNX or settings.without_ngrams
    texts = _validation_texts(artifact, workspace) if measured else None
    if settings.to.startswith(HUB):
        from spamgpt.sources.hub import upload_classifier

        with tempfile.TemporaryDirectory(prefix="spamgpt-") as folder:
            agreement = classifier.to_huggingface(folder, settings.without_ngrams, texts)
            target = upload_classifier(Path(folder), settings.to, reporter)
        return Exported(name, settings.to, target, agreement=agreement)
    assert settings.target is not None, "checked above"
    agreement = None
    if settings.to == HUGGINGFACE:
        agreement = classifier.to_huggingface(settings.target, settings.without_ngrams, texts)
    elif settings.to == BUNDLE:
        classifier.to_bundle(settings.target)
    else:
        agreement = classifier.to_onnx(settings.target, settings.int8, texts)
    return Exported(name, settings.to, str(settings.target), _size(settings.target), agreement)


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
    if settings.without_ngrams and not (to_hub or settings.to == HUGGINGFACE):
        raise UsageError(
            f"`without_ngrams` is for transformers; `to={settings.to}` keeps them.", "Leave it out."
        )
    if settings.int8 and settings.to != ONNX:
        raise UsageError("`int8` is for ONNX.", f"Use `to={ONNX}`, or leave it out.")


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
