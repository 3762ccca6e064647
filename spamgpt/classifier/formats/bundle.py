"""The bundle: a whole classifier in one file, from which it runs without anything else.

It is a safetensors file whose header also has the text files of a saved folder. So it is mapped and
not unpacked, holds no code, and whoever has safetensors can look into it.
"""

import json
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load, save

from spamgpt.classifier.config import SAVED_CONFIG_FILE, ClassifierConfig
from spamgpt.classifier.folder import (
    ClassifierFiles,
    Sources,
    named_as_here,
    named_as_in_files,
    new_files,
)
from spamgpt.classifier.formats.contents import from_contents
from spamgpt.errors import BadDataError
from spamgpt.gpt2.config import GPT2Config, ModelFormatError
from spamgpt.gpt2.folder import CARD_FILE, CONFIG_FILE, TOKENIZER_FILES
from spamgpt.gpt2.weights import read_tensors, write_weights

SUFFIX = ".spamgpt"
# Where in the header the text files are: an object of names and contents.
_KEY = "spamgpt"
_NEEDED = (CONFIG_FILE, SAVED_CONFIG_FILE, *TOKENIZER_FILES)
# Beyond what the format allows.
_LARGEST_HEADER = 100_000_000


def write_bundle(path: Path, shape: GPT2Config, config: ClassifierConfig, sources: Sources) -> None:
    """Writes a bundle, the weights in the precision of the files that they come from.

    Raises UsageError if there is something already, OSError if it cannot be written.
    """
    with new_files(path) as draft:
        texts = _texts(shape, config, sources)
        write_weights(named_as_in_files(sources.tensors), draft / path.name, (_KEY, texts))


def bundle_bytes(shape: GPT2Config, config: ClassifierConfig, sources: Sources) -> bytes:
    """What `write_bundle` writes."""
    tensors = named_as_in_files(sources.tensors)
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    return save(contiguous, {_KEY: _texts(shape, config, sources)})


def read_bundle(path: Path) -> ClassifierFiles:
    """The classifier of a bundle, whose weights are mapped from it.

    Raises BadDataError for a file that is none, or is not whole.
    """
    with path.open("rb") as file:
        header = _header(file.read(8), path)
        contents = _contents(file.read(header), path)
    try:
        tensors = read_tensors(path)
    except ModelFormatError as error:
        raise _broken(path, "it is damaged or not whole") from error
    return from_contents(contents, named_as_here(tensors), path, path)


def from_bundle_bytes(content: bytes) -> ClassifierFiles:
    """The classifier of what `bundle_bytes` gave. Raises as `read_bundle`."""
    origin = Path("the bundle")
    contents = _contents(content[8 : 8 + _header(content[:8], origin)], origin)
    try:
        tensors = load(content)
    except SafetensorError as error:
        raise _broken(origin, "it is damaged or not whole") from error
    tensors = {name.removeprefix("transformer."): tensor for name, tensor in tensors.items()}
    return from_contents(contents, named_as_here(tensors), None, origin)


def _texts(shape: GPT2Config, config: ClassifierConfig, sources: Sources) -> str:
    files = {name: sources.tokenizer_file(name).decode() for name in TOKENIZER_FILES}
    files[CONFIG_FILE] = json.dumps(shape.to_dict())
    files[SAVED_CONFIG_FILE] = config.to_json()
    if sources.card is not None:
        files[CARD_FILE] = sources.card.decode(errors="replace")
    return json.dumps(files, ensure_ascii=False)


def _header(size: bytes, path: Path) -> int:
    """How many bytes of header follow, which a safetensors file begins with."""
    number = int.from_bytes(size, "little")
    if len(size) < 8 or not 0 < number <= _LARGEST_HEADER:
        raise _broken(path, "it is not a bundle")
    return number


def _contents(header: bytes, path: Path) -> dict[str, bytes]:
    """The text files in the header."""
    try:
        files = json.loads(json.loads(header)["__metadata__"][_KEY])
        present = [name for name in (*_NEEDED, CARD_FILE) if name in files or name in _NEEDED]
        return {name: files[name].encode() for name in present}
    # Beside what is not JSON: objects that lack a name, values that are none, surrogates.
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _broken(path, "it is not a bundle") from error


def _broken(path: Path, problem: str) -> BadDataError:
    return BadDataError(
        f"{path} cannot be read: {problem}.",
        "Copy the file again, or make it again: spamgpt export",
    )
