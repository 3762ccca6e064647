"""Which messages a classifier was trained on, kept as salted hashes and not as texts."""

import hashlib
import unicodedata
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt

SEEN_FILE = "seen.npz"


def write_seen(texts: Iterable[str], salt: bytes, path: Path) -> None:
    """Keeps the hashes of texts: eight bytes each, in the order of their values."""
    hashes = np.unique(_hashes(texts, salt))
    np.savez(path, salt=np.frombuffer(salt, np.uint8), hashes=hashes)


def write_more_seen(texts: Iterable[str], before: Path, path: Path) -> None:
    """Keeps the hashes of texts and those of the file `before`, with its salt."""
    with np.load(before) as kept:
        salt = kept["salt"].tobytes()
        hashes = np.union1d(kept["hashes"], _hashes(texts, salt))
    np.savez(path, salt=np.frombuffer(salt, np.uint8), hashes=hashes)


def seen(texts: Iterable[str], path: Path) -> npt.NDArray[np.bool_]:
    """Which of the texts are among those that were kept.

    Case, spaces and the spelling of equal characters (Unicode NFKC) make no difference. Of a
    billion unseen messages one or so is taken for one of a billion kept.
    """
    with np.load(path) as kept:
        return np.isin(_hashes(texts, kept["salt"].tobytes()), kept["hashes"])


def plain(text: str) -> str:
    """The text without what makes no difference between messages: case, spaces, spelling (NFKC)."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _hashes(texts: Iterable[str], salt: bytes) -> npt.NDArray[np.uint64]:
    return np.array([_hash(text, salt) for text in texts], dtype=np.uint64)


def _hash(text: str, salt: bytes) -> int:
    encoded = plain(text).encode("utf-8", "surrogatepass")
    digest = hashlib.blake2b(encoded, digest_size=8, salt=salt)
    return int.from_bytes(digest.digest(), "little")
