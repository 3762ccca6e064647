"""Arrays that are kept on disk to save computing them again, within a limit of space."""

import json
import os
import secrets
import shutil
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.format import open_memmap

# Unless told, a cache holds so many bytes, or this share of the free disk if that is less.
_LARGEST, _SHARE_OF_FREE = 4 * 2**30, 0.25
_CHUNK = 2**24
Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Entry:
    """One array: what it is in words, its bytes, and when it was used last (a Unix time)."""

    key: str
    about: str
    size: int
    used: float


class ArrayCache:
    """A folder of `.npy` files, each with a `.json` that tells whether it is as it was written.

    `limit` None is 4 GiB, or a quarter of the free disk if that is less.
    """

    def __init__(self, folder: Path, limit: int | None = None) -> None:
        self.folder = folder
        if limit is None:
            existing = next(path for path in [folder, *folder.absolute().parents] if path.exists())
            limit = min(_LARGEST, int(_SHARE_OF_FREE * shutil.disk_usage(existing).free))
        self.limit = limit

    def read(self, key: str, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array | None:
        """The memory-mapped array of a key; None if there is none or it is damaged.

        A file whose size and time are as recorded is trusted; any other is checked again.
        """
        try:
            record = json.loads(self._record(key).read_bytes())
            array: Array = np.load(self._file(key), mmap_mode="c")
            if (array.shape, array.dtype) != (shape, np.dtype(dtype)):
                return None
            untouched = self._file(key).stat().st_mtime_ns == record["mtime_ns"]
            if not untouched and _checksum(array) != record["crc32"]:
                return None
        except (OSError, ValueError, KeyError, TypeError, EOFError):
            return None
        with suppress(OSError):  # evicted by another run meanwhile; what is mapped stays readable
            os.utime(self._record(key))
        return array

    @contextmanager
    def writing(
        self, key: str, about: str, shape: tuple[int, ...], dtype: npt.DTypeLike
    ) -> Iterator[Array]:
        """Yields an array to be filled in; the key has it when the block ends without an error.

        The array stays readable afterwards, also if another run evicts or clears it.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        unfinished = self.folder / f"{key}-{secrets.token_hex(4)}.unfinished"
        try:
            array = open_memmap(unfinished, "w+", np.dtype(dtype), shape)
            _reserve(unfinished)
            yield array
            array.flush()
            record = {"about": about, "crc32": _checksum(array)}
            with suppress(FileNotFoundError):  # the cache was cleared meanwhile
                unfinished.replace(self._file(key))
                record["mtime_ns"] = self._file(key).stat().st_mtime_ns
                _write_at_once(self._record(key), json.dumps(record))
        finally:
            unfinished.unlink(missing_ok=True)

    def make_room(self, size: int, keep: Collection[str] = ()) -> None:
        """Removes what was not used for longest until `size` more bytes are within the limit."""
        entries = sorted(self.entries(), key=lambda entry: entry.used)
        total = sum(entry.size for entry in entries)
        for entry in entries:
            if total + size <= self.limit:
                return
            if entry.key not in keep:
                self._remove(entry.key)
                total -= entry.size

    def entries(self) -> list[Entry]:
        """What is there, whole or damaged, in no order."""
        found = []
        for record in self.folder.glob("*.json"):
            with suppress(OSError, ValueError, KeyError, TypeError):
                about = str(json.loads(record.read_bytes())["about"])
                size = self._file(record.stem).stat().st_size
                found.append(Entry(record.stem, about, size, record.stat().st_mtime))
        return found

    def clear(self) -> int:
        """Removes everything, also what a killed run left; returns the bytes that were freed."""
        files = [path for path in self.folder.glob("*") if path.is_file()]
        freed = sum(path.stat().st_size for path in files)
        for path in files:
            path.unlink(missing_ok=True)
        with suppress(OSError):
            self.folder.rmdir()
        return freed

    def _remove(self, key: str) -> None:
        # What another run has mapped stays readable for it.
        self._record(key).unlink(missing_ok=True)
        self._file(key).unlink(missing_ok=True)

    def _file(self, key: str) -> Path:
        return self.folder / f"{key}.npy"

    def _record(self, key: str) -> Path:
        return self.folder / f"{key}.json"


def _reserve(file: Path) -> None:
    """Takes the disk's space now: on a full one, writing to mapped memory kills the process."""
    if hasattr(os, "posix_fallocate"):
        with file.open("rb+") as opened:
            os.posix_fallocate(opened.fileno(), 0, file.stat().st_size)


def _checksum(array: Array) -> int:
    flat = array.reshape(-1).view(np.uint8)
    crc = 0
    for start in range(0, len(flat), _CHUNK):
        crc = zlib.crc32(flat[start : start + _CHUNK].data, crc)
    return crc


def _write_at_once(path: Path, text: str) -> None:
    unfinished = path.with_name(f"{path.name}-{secrets.token_hex(4)}.unfinished")
    unfinished.write_text(text)
    unfinished.replace(path)
