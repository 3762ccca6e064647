"""GPT-2's byte-level BPE, built from a model's own `vocab.json` and `merges.txt`."""

import re
from collections.abc import Mapping, Sequence
from itertools import chain, pairwise
from pathlib import Path

import tiktoken
from tiktoken_ext.openai_public import r50k_pat_str  # the pre-tokenizer of GPT-2

from spamgpt.gpt2.config import ModelFormatError, read_json_object

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
    def from_folder(cls, folder: Path, merges_checked: bool = False) -> "Tokenizer":
        """Reads the tokenizer of a model folder; raises ModelFormatError if its files disagree.

        With `merges_checked` it is known that the merges fit the vocabulary, and they are not read.
        """
        vocabulary_file, merges_file = folder / "vocab.json", folder / "merges.txt"
        vocabulary = _read_vocabulary(vocabulary_file)
        end_of_text = vocabulary.pop(END_OF_TEXT, None)
        if end_of_text is None:
            raise ModelFormatError(f"{vocabulary_file} has no {END_OF_TEXT} token")
        if not merges_checked:
            _check_merges(merges_file, vocabulary, vocabulary_file)
        encoding = tiktoken.Encoding(
            name=str(folder),
            pat_str=r50k_pat_str,
            mergeable_ranks={
                bytes(map(_BYTE_OF_CHARACTER.__getitem__, token)): token_id
                for token, token_id in vocabulary.items()
            },
            special_tokens={END_OF_TEXT: end_of_text},
        )
        return cls(encoding)

    @property
    def vocab_size(self) -> int:
        """One more than the highest token id."""
        return self.encoding.n_vocab

    @property
    def end_of_text(self) -> int:
        """The id of `<|endoftext|>`."""
        return self.encoding.eot_token

    @property
    def spellings(self) -> list[bytes]:
        """The bytes of every token id, none for `<|endoftext|>`."""
        decode = self.encoding.decode_single_token_bytes
        ids = range(self.vocab_size)
        return [b"" if token_id == self.end_of_text else decode(token_id) for token_id in ids]

    @property
    def pattern(self) -> str:
        """The regular expression that cuts a text into what is encoded on its own."""
        return r50k_pat_str

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """The token ids of each text, at least one id each."""
        return [self._encode(text) or [self.encoding.eot_token] for text in texts]

    def decode(self, token_ids: Sequence[int]) -> str:
        """The text of tokens, without the characters of which they hold but a part."""
        return self.encoding.decode_bytes(token_ids).decode("utf-8", "ignore")

    def _encode(self, text: str) -> list[int]:
        cuts = [0, *(run.end() - 1 for run in _LONG_WHITESPACE.finditer(text)), len(text)]
        pieces = (text[start:end] for start, end in pairwise(cuts))
        return list(chain.from_iterable(map(self.encoding.encode_ordinary, pieces)))


# Where a run of whitespace is followed by other text, tiktoken's regular expressions stack up one
# way back for each of its characters, and panic at a million of them. They begin a new token at the
# last character of such a run in any case, so cutting the text there changes no token. The class is
# Unicode's White_Space; Python's \s has four separators more.
_LONG_WHITESPACE = re.compile(r"(?<![^\S\x1c-\x1f])[^\S\x1c-\x1f]{1000,}+(?!\Z)")


def _byte_of_character() -> dict[str, int]:
    """How GPT-2's files write bytes: printable ones as themselves, the others from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {
        chr(256 + index): byte for index, byte in enumerate(others)
    }


_BYTE_OF_CHARACTER: Mapping[str, int] = _byte_of_character()


def _read_vocabulary(path: Path) -> dict[str, int]:
    vocabulary = read_json_object(path)
    token_of: dict[int, str] = {}
    for token, token_id in vocabulary.items():
        # bool is an int; holes are refused with the rest, since the model has a row for each id.
        if type(token_id) is not int or not 0 <= token_id < len(vocabulary):
            raise ModelFormatError(
                f"{path}: the id of {token!r} is {token_id!r}, "
                f"not a whole number from 0 to {len(vocabulary) - 1}"
            )
        if token_id in token_of:
            raise ModelFormatError(f"{path}: {token_of[token_id]!r} and {token!r} share an id")
        token_of[token_id] = token
    return {token: token_id for token_id, token in token_of.items()}


def _check_merges(merges_file: Path, vocabulary: Mapping[str, int], vocabulary_file: Path) -> None:
    """Makes sure that tiktoken, which knows no merges, does what the merges say.

    tiktoken joins whatever makes a token of the vocabulary, the lowest id first. That is the same
    if the vocabulary holds the 256 bytes and what the merges make, in their order, and if each of
    these tokens comes about from its own two parts.
    """
    if missing := _BYTE_OF_CHARACTER.keys() - vocabulary.keys():
        raise ModelFormatError(
            f"{vocabulary_file} is not a byte-level vocabulary: it has no {min(missing)!r}"
        )
    try:
        lines = merges_file.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise ModelFormatError(f"{merges_file} is not UTF-8: {error}") from error
    parts_of: dict[str, tuple[str, str]] = {}
    previous_id = -1
    for number, line in enumerate(lines, start=1):
        if not line or (number == 1 and line.startswith("#version")):
            continue
        left, _, right = line.partition(" ")
        token = left + right
        token_id = vocabulary.get(token, -1)
        known = all(part in _BYTE_OF_CHARACTER or part in parts_of for part in (left, right))
        if not known or token_id <= previous_id:
            raise ModelFormatError(
                f"{merges_file}, line {number}: {line!r} does not make the next token of "
                f"{vocabulary_file}"
            )
        parts_of[token] = left, right
        if not _comes_about(token, parts_of, vocabulary):
            raise ModelFormatError(
                f"{merges_file}, line {number}: {line!r} can never apply, earlier merges come first"
            )
        previous_id = token_id
    if unmade := vocabulary.keys() - _BYTE_OF_CHARACTER.keys() - parts_of.keys():
        raise ModelFormatError(
            f"{merges_file}, line {len(lines)}: no merge makes {min(unmade)!r} of {vocabulary_file}"
        )


def _comes_about(
    token: str, parts_of: Mapping[str, tuple[str, str]], vocabulary: Mapping[str, int]
) -> bool:
    """Whether encoding a token's text joins its two parts, and nothing across their border before.

    The pieces left and right of the border grow from bytes to the two parts. Wherever they stand
    next to each other and make a token together, that must come later than their next growth.
    """
    left, right = parts_of[token]
    lefts, rights = [left], [right]
    while lefts[-1] in parts_of:
        lefts.append(parts_of[lefts[-1]][1])
    while rights[-1] in parts_of:
        rights.append(parts_of[rights[-1]][0])
    never = len(vocabulary) + 1
    left, right = lefts.pop(), rights.pop()
    while lefts or rights:
        grow_left = vocabulary[lefts[-1]] if lefts else never
        grow_right = vocabulary[rights[-1]] if rights else never
        # Of equal merges the leftmost comes first.
        across = vocabulary.get(left + right, never)
        if across < grow_left and across <= grow_right:
            return False
        if grow_left <= grow_right:
            left = lefts.pop()
        else:
            right = rights.pop()
    return True
