"""import: a classifier of another tool or machine becomes one of the workspace."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from spamgpt.bundled import CLASSIFIER_FOLDER, MINI_FOLDER
from spamgpt.classifier.finding import BUNDLED
from spamgpt.errors import MissingInputError, UsageError
from spamgpt.reporting import SILENT, Reporter
from spamgpt.workspace import Artifact, Workspace, artifact_name

if TYPE_CHECKING:
    from spamgpt.classifier.folder import ClassifierFiles

STAGE = "import"
_ON_THE_HUB = "hf:"


@dataclass(frozen=True)
class ImportSettings:
    """`source` is a path, a repository as `hf:owner/name[@revision]`, or BUNDLED.

    `labels` (`ham,spam`) replace those of the source. `model` is for a state dictionary: the GPT-2,
    a reference or a folder, that it was made from, whose shape and tokenizer it needs; None takes
    the newest. So is `padding`: the tokens that its messages were padded to, or none; None takes
    those of the published notebook.
    """

    source: str
    labels: str | None = None
    model: str | None = None
    padding: str | None = None


def run(settings: ImportSettings, workspace: Workspace, reporter: Reporter = SILENT) -> Artifact:
    """Writes a classifier and the model that it stands on; returns the classifier.

    It can be evaluated, compared, explained, exported and trained onward like one that was trained
    here. Raises UsageError, MissingInputError, IntegrityError, NetworkError or BadDataError; then
    nothing is written.
    """
    from spamgpt.classifier.config import CONFIG_FILE, TRAINED_FILE
    from spamgpt.classifier.folder import ON_TOP
    from spamgpt.gpt2.folder import CARD_FILE
    from spamgpt.gpt2.weights import write_weights

    with _read(settings, workspace, reporter) as (files, origin):
        model = _write_model(files, origin, settings, workspace)
        on_top = {n: tensor for n, tensor in files.sources.tensors.items() if n.startswith(ON_TOP)}
        with workspace.new("classifiers", settings, inputs=[model], stage=STAGE) as draft:
            files.config.write(draft.folder / CONFIG_FILE)
            write_weights(on_top, draft.folder / TRAINED_FILE)
            if files.sources.card is not None:
                (draft.folder / CARD_FILE).write_bytes(files.sources.card)
            draft.metadata.update(
                labels=files.config.labels, threshold=files.config.threshold, origin=origin
            )
    return draft.artifact


@contextmanager
def _read(
    settings: ImportSettings, workspace: Workspace, reporter: Reporter
) -> "Iterator[tuple[ClassifierFiles, str]]":
    """The classifier of the source, and where it is from in words."""
    from spamgpt.classifier.formats.huggingface import FILES, read_huggingface
    from spamgpt.classifier.formats.notebook import SUFFIXES, read_notebook
    from spamgpt.classifier.formats.reading import is_classifier, read_classifier
    from spamgpt.gpt2.folder import CONFIG_FILE, WEIGHTS_FILE

    labels = settings.labels.split(",") if settings.labels else None
    path = Path(settings.source)
    for name, value in (("model", settings.model), ("padding", settings.padding)):
        if value is not None and path.suffix not in SUFFIXES:
            raise UsageError(
                f"`{name}` is for the state dictionary of a notebook, not for {settings.source}.",
                "Leave it out: the classifier brings its own.",
            )
    if settings.source.startswith(_ON_THE_HUB):
        from spamgpt.sources.hub import download_classifier

        with tempfile.TemporaryDirectory(prefix="spamgpt-") as name:
            needed = (CONFIG_FILE, WEIGHTS_FILE)
            folder = Path(name)
            origin = download_classifier(settings.source, FILES, needed, folder, reporter)
            yield read_huggingface(folder, labels), origin
        return
    if settings.source == BUNDLED:
        files = _read_bundled()
        yield (files if labels is None else _relabelled(files, labels)), BUNDLED
        return
    if not path.exists():
        raise MissingInputError(
            f"There is nothing at {path}.",
            "Give a folder, a .spamgpt or .pth file, or hf:owner/name.",
        )
    if path.suffix in SUFFIXES:
        model = _tokenizer_folder(settings, workspace)
        files = read_notebook(path, model, labels or ["ham", "spam"], _padding(settings.padding))
        if padding := files.config.padding:
            reporter.note(
                f"Messages are read as in the notebook: padded to {padding} tokens with "
                "end-of-text, the head at the last of them."
            )
    elif is_classifier(path):
        files = read_classifier(path)
        if labels is not None:
            files = _relabelled(files, labels)
    else:
        raise MissingInputError(
            f"{path} holds no classifier: it has neither spamgpt.json nor the config.json of a "
            "GPT2ForSequenceClassification.",
            "Export a classifier of another workspace as a bundle first: spamgpt export",
        )
    yield files, path.name


def _read_bundled() -> "ClassifierFiles":
    from spamgpt.classifier.folder import read_trained
    from spamgpt.gpt2.folder import load_folder

    pretrained = load_folder(MINI_FOLDER, merges_checked=True)
    return read_trained(CLASSIFIER_FOLDER, pretrained, MINI_FOLDER)


def _relabelled(files: "ClassifierFiles", labels: list[str]) -> "ClassifierFiles":
    from spamgpt.classifier.formats.huggingface import relabelled

    return replace(files, config=relabelled(files.config, labels))


def _padding(named: str | None) -> int | None:
    from spamgpt.classifier.formats.notebook import PADDING

    if named is None or named == "none":
        return PADDING if named is None else None
    if not named.isdecimal() or not int(named):
        raise UsageError(f"`padding` is {named!r}.", "Give a number of tokens, or none.")
    return int(named)


def _tokenizer_folder(settings: ImportSettings, workspace: Workspace) -> Path:
    """The folder with the shape and the tokenizer that a state dictionary lacks."""
    from spamgpt.gpt2.folder import CONFIG_FILE, TOKENIZER_FILES

    if settings.model is not None and Path(settings.model).is_dir():
        folder = Path(settings.model)
        needed = (CONFIG_FILE, *TOKENIZER_FILES)
        if missing := [name for name in needed if not (folder / name).is_file()]:
            raise MissingInputError(
                f"{folder} has no {', '.join(missing)}.", "Give a GPT-2 folder."
            )
        return folder
    artifact = workspace.newest("models", settings.model)
    for name in (CONFIG_FILE, *TOKENIZER_FILES):
        artifact.check(name)
    return artifact.folder


def _write_model(
    files: "ClassifierFiles", origin: str, settings: ImportSettings, workspace: Workspace
) -> Artifact:
    """The GPT-2, as a model folder like any other."""
    from spamgpt.classifier.folder import ON_TOP, named_as_in_files
    from spamgpt.classifier.formats.bundle import SUFFIX as BUNDLE_SUFFIX
    from spamgpt.classifier.formats.notebook import SUFFIXES
    from spamgpt.gpt2.folder import CONFIG_FILE, FINETUNING_FILE, TOKENIZER_FILES, WEIGHTS_FILE
    from spamgpt.gpt2.weights import write_weights

    shape = files.model.gpt2.config
    weights = {n: t for n, t in files.sources.tensors.items() if not n.startswith(ON_TOP)}
    name = origin.partition("@")[0].replace("/", "--")
    for suffix in (BUNDLE_SUFFIX, *SUFFIXES):
        name = name.removesuffix(suffix)
    name = artifact_name(f"imported-{name}")
    with workspace.new("models", settings, name=name, stage=STAGE, reuse=True) as draft:
        write_weights(named_as_in_files(weights), draft.folder / WEIGHTS_FILE)
        shape.write(draft.folder / CONFIG_FILE)
        for file in TOKENIZER_FILES:
            (draft.folder / file).write_bytes(files.sources.tokenizer_file(file))
        if settings.source == BUNDLED:
            # What mini recommends suits what was made from it.
            recommended = (MINI_FOLDER / FINETUNING_FILE).read_bytes()
            (draft.folder / FINETUNING_FILE).write_bytes(recommended)
        draft.metadata.update(
            n_layer=shape.n_layer,
            n_head=shape.n_head,
            n_embd=shape.n_embd,
            weights="imported",
            origin=origin,
        )
    return draft.artifact
