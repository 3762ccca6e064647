"""The files of a classifier, read and checked, in both layouts.

A classifier of a workspace holds what training changed and stands on a pretrained model; one that
`SpamClassifier.save_pretrained` wrote holds everything.
"""

import re
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, cat, device, zeros

from spamgpt.classifier.config import (
    CONFIG_FILE,
    SAVED_CONFIG_FILE,
    TRAINED_FILE,
    ClassifierConfig,
)
from spamgpt.errors import BadDataError, IntegrityError, MissingInputError, UsageError
from spamgpt.gpt2 import folder as model_folder
from spamgpt.gpt2.adapters import MergedTensors, add_adapters, is_adapter
from spamgpt.gpt2.classifier import GPT2Classifier
from spamgpt.gpt2.config import GPT2Config, LoraConfig
from spamgpt.gpt2.folder import (
    CARD_FILE,
    MODEL_FILES,
    TOKENIZER_FILES,
    WEIGHTS_FILE,
    load_tokenizer,
)
from spamgpt.gpt2.model import GPT2
from spamgpt.gpt2.ngram_counts import BUCKETS
from spamgpt.gpt2.ngrams import NGrams
from spamgpt.gpt2.paths import utf8_path
from spamgpt.gpt2.tokenizer import Tokenizer
from spamgpt.gpt2.weights import differences, read_tensors, write_weights

_REMEDY = "Make the classifier again: spamgpt finetune"
# How the classifier and the weight files of GPT-2 call the model.
_HERE, _IN_FILES = "gpt2.", "transformer."
# What a classifier has besides a GPT-2.
ON_TOP = ("head.", "ngrams.")
_IN_BLOCK = re.compile(r"gpt2\.h\.(\d+)\.")


@dataclass(frozen=True)
class Sources:
    """What a classifier is saved from.

    `tensors` are all of its tensors by name, memory-mapped as the files have them: they take no
    memory while nobody reads them. Adapters are merged when they are read. `tokenizer_file` gives
    the content of one of TOKENIZER_FILES, `card` is its model card, if it has one.
    """

    tensors: Mapping[str, Tensor]
    tokenizer_file: Callable[[str], bytes]
    card: bytes | None


@dataclass(frozen=True)
class ClassifierFiles:
    """A classifier as its files have it, on the CPU and in full precision.

    The adapters of the model are not merged yet. The first `unchanged` blocks are also in the
    weight file `weights`, if there is one.
    """

    model: GPT2Classifier
    tokenizer: Tokenizer
    config: ClassifierConfig
    weights: Path | None
    unchanged: int
    sources: Sources


def read_trained(
    folder: Path, pretrained: tuple[GPT2, Tokenizer], pretrained_folder: Path
) -> ClassifierFiles:
    """The classifier whose folder holds what training changed of a pretrained model.

    Which blocks were frozen follows from the names of the tensors. Raises IntegrityError for a
    damaged file, BadDataError naming the tensors that are missing, surplus or unfit.
    """
    gpt2, tokenizer = pretrained
    config = ClassifierConfig.from_file(folder / CONFIG_FILE)
    model = _model(gpt2, tokenizer, config, folder / CONFIG_FILE)
    path, weights = folder / TRAINED_FILE, pretrained_folder / WEIGHTS_FILE
    try:
        with utf8_path(path) as reachable:
            trained = load_file(reachable)
    except SafetensorError as error:
        raise IntegrityError(f"{path} is damaged: {error}.", _REMEDY) from error
    everything = {_HERE + name: t for name, t in read_tensors(weights).items()} | trained
    if lora := config.lora:
        unchanged = _assign_adapters(model, trained, path, lora)
    else:
        unchanged = _assign(model, trained, path)
    tensors = MergedTensors(everything, lora) if lora else everything
    sources = Sources(tensors, files_in(pretrained_folder), card_in(folder))
    return ClassifierFiles(model, tokenizer, config, weights, unchanged, sources)


def read_saved(folder: Path) -> ClassifierFiles:
    """The classifier of a self-contained folder.

    Raises MissingInputError naming a file that is not there, BadDataError or ModelFormatError
    naming what is missing, surplus or unfit in one.
    """
    if missing := [name for name in MODEL_FILES if not (folder / name).is_file()]:
        raise MissingInputError(
            f"{folder} has no {', '.join(missing)}.", "Copy the whole folder, or save it again."
        )
    config = ClassifierConfig.from_file(folder / SAVED_CONFIG_FILE)
    weights = folder / WEIGHTS_FILE
    tensors = named_as_here(read_tensors(weights))
    return assemble(folder, config, tensors, weights, weights)


def assemble(
    folder: Path,
    config: ClassifierConfig,
    tensors: Mapping[str, Tensor],
    weights: Path | None,
    origin: Path,
) -> ClassifierFiles:
    """A classifier made of all its tensors and of the model's shape and tokenizer in a folder.

    `weights` is the file that has the tensors, if one has them as they are. Raises ModelFormatError
    or, naming the `origin` of tensors that are missing, surplus or unfit, BadDataError.
    """
    shape = GPT2Config.from_file(folder / model_folder.CONFIG_FILE)
    tokenizer = load_tokenizer(folder, shape)
    with device("meta"):
        gpt2 = GPT2(shape)
    model = _model(gpt2, tokenizer, config, folder / SAVED_CONFIG_FILE)
    _assign(model, tensors, origin, whole=True)
    sources = Sources(tensors, files_in(folder), card_in(folder))
    return ClassifierFiles(model, tokenizer, config, weights, shape.n_layer, sources)


def named_as_here(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a weight file, which lacks the prefix of the model, by their names here."""
    return {
        name if name.startswith(ON_TOP) else _HERE + name: tensor
        for name, tensor in tensors.items()
    }


def named_as_in_files(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse: the names that the weight files of transformers have."""
    return {
        name.replace(_HERE, _IN_FILES, 1) if name.startswith(_HERE) else name: tensor
        for name, tensor in tensors.items()
    }


def files_in(folder: Path) -> Callable[[str], bytes]:
    """What gives the content of a file of a folder by its name."""
    return lambda name: (folder / name).read_bytes()


def card_in(folder: Path) -> bytes | None:
    """The model card in a folder, if there is one."""
    return (folder / CARD_FILE).read_bytes() if (folder / CARD_FILE).exists() else None


def _model(
    gpt2: GPT2, tokenizer: Tokenizer, config: ClassifierConfig, path: Path
) -> GPT2Classifier:
    """The model that a configuration, read from `path`, asks for."""
    context = gpt2.config.n_positions
    if config.padding is not None and config.padding > context:
        problem = f"padding is {config.padding}, and the model's context {context} tokens"
        raise BadDataError(f"{path}: {problem}.", _REMEDY)
    model = GPT2Classifier(
        gpt2, len(config.labels), pooling=config.pooling, attention=config.attention
    )
    if config.ngrams:
        model.ngrams = NGrams(tokenizer.spellings, len(config.labels))
    return model


def write_saved(
    folder: Path, shape: GPT2Config, config: ClassifierConfig, sources: Sources
) -> None:
    """Writes a self-contained folder, all of it or nothing.

    The weights are in the precision of the files that they come from. Raises UsageError if there is
    something already, OSError if it cannot be written.
    """
    with new_folder(folder) as draft:
        write_weights(named_as_in_files(sources.tensors), draft / WEIGHTS_FILE)
        shape.write(draft / model_folder.CONFIG_FILE)
        config.write(draft / SAVED_CONFIG_FILE)
        for name in TOKENIZER_FILES:
            (draft / name).write_bytes(sources.tokenizer_file(name))
        if sources.card is not None:
            (draft / CARD_FILE).write_bytes(sources.card)


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A draft beside the folder, which gets its name when all is written.

    Raises UsageError if there is something already.
    """
    folder = folder.absolute()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} already exists.", "Give a new or an empty folder.")
    draft = _draft_beside(folder)
    draft.mkdir()
    try:
        yield draft
        if folder.exists():
            folder.rmdir()
        draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


@contextmanager
def new_files(*paths: Path) -> Iterator[Path]:
    """A draft folder beside files of one folder, which get their places when all are written.

    Not all of them need be. Raises UsageError if there is one already.
    """
    paths = tuple(path.absolute() for path in paths)
    if existing := next((path for path in paths if path.exists()), None):
        raise UsageError(f"{existing} already exists.", "Give another name, or remove it.")
    draft = _draft_beside(paths[0])
    draft.mkdir()
    try:
        yield draft
        for path in paths:
            if (draft / path.name).exists():
                (draft / path.name).rename(path)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _draft_beside(path: Path) -> Path:
    if blocking := next((parent for parent in path.parents if parent.is_file()), None):
        raise UsageError(f"{blocking} is a file, not a folder.", "Give another folder.")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.with_name(f".{path.name}-{secrets.token_hex(4)}")


def _assign(
    model: GPT2Classifier, tensors: Mapping[str, Tensor], path: Path, whole: bool = False
) -> int:
    """Makes the tensors of a file the model's parameters; returns how many blocks it lacks.

    What training changes reaches from one part of the model to its head, so from the first part
    that a file has on (`whole`: from the very first) all tensors must be there, and no others.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    n_layer = model.gpt2.config.n_layer
    places = {name: _place(name, n_layer) for name in shapes}
    found = [places[name] for name in tensors if name in places]
    first = 0 if whole else min(found, default=max(places.values()))
    expected = {name: shape for name, shape in shapes.items() if places[name] >= first}
    _load(model, expected, tensors, path)
    return min(max(first - 1, 0), n_layer)


def _assign_adapters(
    model: GPT2Classifier, tensors: Mapping[str, Tensor], path: Path, lora: LoraConfig
) -> int:
    """Puts the adapters of a file into the model, and its head; returns how many blocks have none.

    From the first block that has one on, all must have one at each target.
    """
    last = model.gpt2.config.n_layer - 1
    blocks = [int(match[1]) for name in tensors if (match := _IN_BLOCK.match(name))]
    first = min([*blocks, last])
    add_adapters(model.gpt2, first, lora)
    expected = {
        name: tuple(tensor.shape)
        for name, tensor in model.state_dict().items()
        if is_adapter(name) or name.startswith(ON_TOP)
    }
    _load(model, expected, tensors, path)
    return first


def _load(
    model: GPT2Classifier,
    expected: Mapping[str, tuple[int, ...]],
    tensors: Mapping[str, Tensor],
    path: Path,
) -> None:
    tensors = _as_today(tensors)
    if problems := differences(expected, tensors):
        raise BadDataError(f"{path} does not fit its model: {'; '.join(problems)}.", _REMEDY)
    # assign: the mapped tensors become the parameters, nothing is copied.
    widened = {name: tensor.float() for name, tensor in tensors.items()}
    model.load_state_dict(widened, strict=False, assign=True)


def _as_today(tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The tensors; n-grams of 0.2.0 with those of words, which are never seen, and no caution."""
    names = ("ngrams.weight", "ngrams.idf")
    if any(len(tensors.get(name, ())) != 2 * BUCKETS for name in names):
        return tensors
    wider = {
        name: cat([tensors[name], tensors[name].new_zeros(BUCKETS, *tensors[name].shape[1:])])
        for name in names
    }
    return {**tensors, **wider, "ngrams.caution": zeros(1)}


def _place(name: str, n_layer: int) -> int:
    """Where a tensor stands: 0 in the embeddings, 1 in the first block, at last in the head."""
    if name.startswith(ON_TOP):
        return n_layer + 2
    if name.startswith("gpt2.ln_f."):
        return n_layer + 1
    return int(name.split(".")[2]) + 1 if name.startswith("gpt2.h.") else 0
