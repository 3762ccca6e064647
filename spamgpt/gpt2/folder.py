"""A model folder as Hugging Face lays it out: four files that have to fit each other."""

from pathlib import Path
from typing import TYPE_CHECKING

from spamgpt.gpt2.config import GPT2Config, ModelFormatError

if TYPE_CHECKING:
    from spamgpt.gpt2.model import GPT2
    from spamgpt.gpt2.tokenizer import Tokenizer

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
TOKENIZER_FILES = ("vocab.json", "merges.txt")
MODEL_FILES = (CONFIG_FILE, *TOKENIZER_FILES, WEIGHTS_FILE)
# What a folder may hold besides: a model card, and how to fine-tune it.
CARD_FILE = "README.md"
FINETUNING_FILE = "finetuning.json"
COMPANION_FILES = (CARD_FILE, FINETUNING_FILE)


def load_folder(folder: Path, merges_checked: bool = False) -> "tuple[GPT2, Tokenizer]":
    """The model and tokenizer of a folder; raises ModelFormatError if they do not fit.

    With `merges_checked` the merges are known to fit the vocabulary (`Tokenizer.from_folder`).
    """
    # torch is not for those who only ask for the names of the files.
    from spamgpt.gpt2.weights import load_gpt2

    config = GPT2Config.from_file(folder / CONFIG_FILE)
    tokenizer = load_tokenizer(folder, config, merges_checked)
    return load_gpt2(config, folder / WEIGHTS_FILE), tokenizer


def load_tokenizer(folder: Path, config: GPT2Config, merges_checked: bool = False) -> "Tokenizer":
    """The tokenizer of a folder; raises ModelFormatError if it does not fit the model's shape."""
    from spamgpt.gpt2.tokenizer import Tokenizer

    tokenizer = Tokenizer.from_folder(folder, merges_checked)
    if tokenizer.vocab_size > config.vocab_size:
        raise ModelFormatError(
            f"{folder}: the tokenizer has token ids up to {tokenizer.vocab_size - 1}, "
            f"the model has embeddings for {config.vocab_size}"
        )
    return tokenizer
