"""Learns a byte-level BPE vocabulary from text, in the files of GPT-2's tokenizer."""

from collections.abc import Iterator
from pathlib import Path

from spamgpt.errors import MissingInputError
from spamgpt.gpt2.paths import utf8_path
from spamgpt.gpt2.tokenizer import END_OF_TEXT


def learn_vocabulary(texts: Iterator[str], size: int, folder: Path) -> None:
    """Writes `vocab.json` and `merges.txt` of a vocabulary of `size` tokens (Sennrich et al. 2016).

    The tokens are the end-of-text token, the 256 bytes, and the merges. Needs the library
    `tokenizers`, an optional extra; raises MissingInputError without it.
    """
    try:
        from tokenizers import Tokenizer
        from tokenizers.models import BPE
        from tokenizers.pre_tokenizers import ByteLevel
        from tokenizers.trainers import BpeTrainer
    except ImportError as error:
        raise MissingInputError(
            "Learning a vocabulary needs the library tokenizers.",
            "Install it: pip install 'spamgpt[pretrain]'",
        ) from error
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    trainer = BpeTrainer(
        vocab_size=size,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    with utf8_path(folder) as reachable:
        tokenizer.model.save(str(reachable))
