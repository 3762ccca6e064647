"""GPT-2's byte-level BPE, built from a model's own `vocab.json` and `merges.txt`."""

import json
from collections.abc import Sequence
from pathlib import Path

import tiktoken
from tiktoken_ext.openai_public import r50k_pat_str  # the pre-tokenizer of GPT-2

from spamgpt.gpt2.config import ModelFormatError

END_OF_TEXT = "<|endoftext|>"


class Tokenizer:
    """Turns messages into token ids.

    Text is only ever text: `<|endoftext|>` typed in a message becomes ordinary tokens. An empty
    message becomes the one real end-of-text token, which GPT-2 was trained to read as "a new
    document begins", so that there is a token to classify.
    """

    def __init__(self, encoding: tiktoken.Encoding) -> None:
        self.encoding = encoding

    @classmethod
    def from_folder(cls, folder: Path) -> "Tokenizer":
        """Reads the tokenizer of a model folder; raises ModelFormatError if its files disagree."""
        vocabulary_file, merges_file = folder / "vocab.json", folder / "merges.txt"
        vocabulary = _read_vocabulary(vocabulary_file)
        end_of_text = vocabulary.pop(END_OF_TEXT, None)
        if end_of_text is None:
            raise ModelFormatError(f"{vocabulary_file} has no {END_OF_TEXT} token")
        byte_of = _byte_of_character()
        try:
            ranks = {
                bytes(byte_of[character] for character in token): token_id
                for token, token_id in vocabulary.items()
            }
        except KeyError as error:
            raise ModelFormatError(
                f"{vocabulary_file} is not a byte-level vocabulary: it has the character {error}"
            ) from error
        _check_merges(merges_file, vocabulary, vocabulary_file)
        encoding = tiktoken.Encoding(
            name=str(folder),
            pat_str=r50k_pat_str,
            mergeable_ranks=ranks,
            special_tokens={END_OF_TEXT: end_of_text},
        )
        return cls(encoding)

    @property
    def vocab_size(self) -> int:
        """One more than the highest token id."""
        return self.encoding.n_vocab

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """The token ids of each text, at least one id each."""
        return [
            token_ids or [self.encoding.eot_token]
            for token_ids in map(self.encoding.encode_ordinary, texts)
        ]


def _read_vocabulary(path: Path) -> dict[str, int]:
    try:
        vocabulary = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ModelFormatError(f"{path} is not JSON: {error}") from error
    if not isinstance(vocabulary, dict) or not all(
        isinstance(token_id, int) for token_id in vocabulary.values()
    ):
        raise ModelFormatError(f"{path} does not map tokens to ids")
    return vocabulary


def _check_merges(merges_file: Path, vocabulary: dict[str, int], vocabulary_file: Path) -> None:
    """tiktoken merges in the order of the token ids, so the merges must stand in that order."""
    try:
        lines = merges_file.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise ModelFormatError(f"{merges_file} is not UTF-8: {error}") from error
    previous_id = -1
    merges = 0
    for number, line in enumerate(lines, start=1):
        if not line or (number == 1 and line.startswith("#version")):
            continue
        token_id = vocabulary.get(line.replace(" ", "", 1))
        if token_id is None or token_id <= previous_id:
            raise ModelFormatError(
                f"{merges_file}, line {number}: {line!r} does not make the next token of "
                f"{vocabulary_file}"
            )
        previous_id = token_id
        merges += 1
    if merges + 256 != len(vocabulary):
        raise ModelFormatError(
            f"{merges_file} has {merges} merges; {vocabulary_file} needs {len(vocabulary) - 256}"
        )


def _byte_of_character() -> dict[str, int]:
    """How GPT-2's files write bytes: printable ones as themselves, the others from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {
        chr(256 + index): byte for index, byte in enumerate(others)
    }
