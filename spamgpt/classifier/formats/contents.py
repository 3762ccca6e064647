"""A classifier made of the contents of its small files, wherever a format keeps them."""

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from spamgpt.classifier.config import SAVED_CONFIG_FILE, ClassifierConfig
from spamgpt.classifier.folder import ClassifierFiles, Sources, assemble
from spamgpt.errors import BadDataError, SpamgptError
from spamgpt.gpt2.config import ModelFormatError
from spamgpt.gpt2.folder import CARD_FILE


def from_contents(
    contents: Mapping[str, bytes],
    tensors: Mapping[str, Tensor],
    weights: Path | None,
    origin: Path,
) -> ClassifierFiles:
    """A classifier from the contents of the files that a saved folder has beside the weights.

    `tensors` are all of its tensors by name, `weights` the file that has them as they are, if one
    does. Raises BadDataError naming the `origin` and what does not fit.
    """
    # What reads the files of a folder reads them here, too.
    with tempfile.TemporaryDirectory(prefix="spamgpt-") as name:
        folder = Path(name)
        for file, content in contents.items():
            (folder / file).write_bytes(content)
        try:
            config = ClassifierConfig.from_file(folder / SAVED_CONFIG_FILE)
            files = assemble(folder, config, tensors, weights, origin)
        except (ModelFormatError, SpamgptError) as error:
            # The folder is gone when the message is read: it names where the files came from.
            problem = str(error).replace(f"{folder}/", f"{origin}: ").replace(name, str(origin))
            raise BadDataError(
                problem.removesuffix(".") + ".", "Get the file again, or make it again."
            ) from error
    sources = Sources(files.sources.tensors, contents.__getitem__, contents.get(CARD_FILE))
    return replace(files, sources=sources)
