"""What lies at a path, and the classifier that is made of it."""

from pathlib import Path

from spamgpt.classifier.config import SAVED_CONFIG_FILE
from spamgpt.classifier.folder import ClassifierFiles, read_saved
from spamgpt.classifier.formats.bundle import read_bundle
from spamgpt.classifier.formats.huggingface import is_huggingface, read_huggingface
from spamgpt.classifier.formats.notebook import SUFFIXES
from spamgpt.errors import UsageError


def is_classifier(path: Path) -> bool:
    """Whether there is a file, a saved folder or one of transformers, and not a workspace."""
    return path.is_file() or (path / SAVED_CONFIG_FILE).is_file() or is_huggingface(path)


def read_classifier(path: Path) -> ClassifierFiles:
    """The classifier of a bundle, of a saved folder or of one that transformers wrote.

    Raises MissingInputError, ModelFormatError, BadDataError or UsageError.
    """
    if path.suffix in SUFFIXES:
        raise UsageError(
            f"{path} is not used as it is: it has no labels and no tokenizer.",
            f"Import it: spamgpt import {path}",
        )
    if path.is_file():
        return read_bundle(path)
    return read_huggingface(path) if is_huggingface(path) else read_saved(path)
