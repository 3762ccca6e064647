"""Answers without torch, which takes longer to load than a few messages take to answer."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open

from spamgpt.classifier.base import TextClassifier
from spamgpt.classifier.config import CONFIG_FILE, TRAINED_FILE, ClassifierConfig
from spamgpt.data.batches import ON_CPU, TokenizedMessages, batches_by_length
from spamgpt.errors import BadDataError, SpamgptError
from spamgpt.gpt2 import folder as model_folder
from spamgpt.gpt2.config import GPT2Config, ModelFormatError
from spamgpt.gpt2.in_numpy import NumpyClassifier, Stored, shapes
from spamgpt.gpt2.ngram_counts import NGramCounter
from spamgpt.gpt2.paths import utf8_path
from spamgpt.gpt2.tokenizer import Tokenizer
from spamgpt.reporting import SILENT, Reporter

if TYPE_CHECKING:
    from spamgpt.classifier.model import SpamClassifier

# While torch is loaded, numpy does about as many products of two numbers; and torch, while it is
# loaded in other processes.
_WORTH_LOADING, _WORTH_SHARING = 2e10, 3e11
# Files of larger models take longer to read than torch takes to load and to map them.
_MOST_BYTES = 600_000_000


class QuickClassifier(TextClassifier):
    """A classifier that computes in numpy, and in torch once so much has come that loading it pays.

    In numpy it computes in float32 and says what torch says, but for the last digits.
    """

    def __init__(
        self,
        model: NumpyClassifier,
        config: ClassifierConfig,
        tokenizer: Tokenizer,
        load: Callable[[], "SpamClassifier"],
        card: str | None = None,
        max_batch_tokens: int | None = None,
    ) -> None:
        """`load` gives the same classifier in torch."""
        self.config = config
        self.tokenizer = tokenizer
        self._model: NumpyClassifier | None = model
        self._shape = model.config
        self._load = load
        self._loaded: TextClassifier | None = None
        self._products = 0
        self._shared = False
        self._card = card
        self._batch_tokens = max_batch_tokens or ON_CPU

    @property
    def context(self) -> int:
        """The most tokens read at once; a longer text is read in windows."""
        return self.config.padding or self._shape.n_positions

    @property
    def batch_tokens(self) -> int:
        """How many tokens are best computed together."""
        return self._batch_tokens

    @property
    def card(self) -> str | None:
        """The model card (Markdown) that it was loaded with."""
        return self._card

    def window_probabilities(
        self, windows: TokenizedMessages, reporter: Reporter = SILENT
    ) -> npt.NDArray[np.float64]:
        """(windows, labels): the probability of each label for messages that fit the context."""
        self._products += self._shape.products(sum(map(len, windows.token_ids)))
        if self._model is not None and self._products > _WORTH_LOADING:
            self._loaded, self._model = self._load(), None
        if self._loaded is not None:
            if not self._shared and self._products > _WORTH_SHARING:
                self._loaded, self._shared = self._with_others(self._loaded), True
            return self._loaded.window_probabilities(windows, reporter)
        assert self._model is not None
        logits = np.empty((len(windows), len(self.labels)), np.float32)
        with reporter.task("Scoring", len(windows), "messages") as task:
            for batch in batches_by_length(windows, self._batch_tokens):
                logits[batch] = self._model.logits([windows.token_ids[index] for index in batch])
                task.advance(len(batch))
        return self.config.probabilities(logits)

    def _with_others(self, classifier: TextClassifier) -> TextClassifier:
        """The classifier with others like it, as many in all as suit it."""
        if classifier.processes == 1:
            return classifier
        from spamgpt.classifier.together import Together

        try:
            return Together(classifier, self._load, classifier.processes)
        except (SpamgptError, OSError):  # there is no room for them
            return classifier


def read_quickly(
    folder: Path,
    pretrained: Path,
    load: Callable[[], "SpamClassifier"],
    max_batch_tokens: int | None = None,
) -> TextClassifier:
    """A classifier whose folder holds what training changed of the model in another folder.

    Where numpy cannot compute it or something is wrong with a file, it is what `load` gives, or the
    error that it raises.
    """
    try:
        config = ClassifierConfig.from_file(folder / CONFIG_FILE)
        shape = GPT2Config.from_file(pretrained / model_folder.CONFIG_FILE)
        weights = pretrained / model_folder.WEIGHTS_FILE
        if (
            config.pads
            or (config.padding or 0) > shape.n_positions
            or config.lora
            or config.attention != "causal"
            or config.pooling not in ("last", "mean")
            or weights.stat().st_size > _MOST_BYTES
        ):
            return load()
        tokenizer = model_folder.load_tokenizer(pretrained, shape, merges_checked=True)
        expected = shapes(shape, len(config.labels), config.ngrams)
        # Weight files of others also hold what no classifier has.
        tensors = {
            f"gpt2.{name}": tensor
            for name, tensor in _read(weights).items()
            if f"gpt2.{name}" in expected
        }
        tensors |= _read(folder / TRAINED_FILE)
        file = folder / model_folder.CARD_FILE
        card = file.read_text("utf-8", "replace") if file.exists() else None
    except (BadDataError, ModelFormatError, SafetensorError, OSError, TypeError):
        return load()
    plain = all(tensor.dtype.kind == "f" for tensor in tensors.values())
    if not plain or {name: tensor.shape for name, tensor in tensors.items()} != expected:
        return load()
    counter = NGramCounter(tokenizer.spellings) if config.ngrams else None
    model = NumpyClassifier(shape, tensors, config.pooling == "mean", counter)
    return QuickClassifier(model, config, tokenizer, load, card, max_batch_tokens)


def _read(path: Path) -> dict[str, Stored]:
    """The tensors of a file; TypeError for bfloat16, unless a library has taught it to numpy."""
    with utf8_path(path) as reachable, safe_open(reachable, framework="np") as file:
        return {
            name.removeprefix("transformer."): file.get_tensor(name)
            for name in file.keys()  # noqa: SIM118 - the file is no mapping
        }
