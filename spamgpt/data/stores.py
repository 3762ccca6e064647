"""Folders and files on the disk or in an object store, by the file systems of pyarrow and fsspec.

An address has a scheme, such as `s3://bucket/mails?region=eu-west-1`; what has none is a path on
this machine.
"""

import io
import os
import posixpath
import secrets
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO, cast
from urllib.parse import quote

from spamgpt.addresses import is_address, without_query
from spamgpt.data.binary import is_parquet, parquet_lines
from spamgpt.data.files import find_files, has_known_name, is_binary, lines_in, lines_of
from spamgpt.errors import MissingInputError, SpamgptError, UsageError
from spamgpt.extras import require

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

# What is read of a file at once, in bytes; object stores answer slowly.
_BUFFER = 1 << 20
# A file being written. Readers of tables pass over names that begin with an underscore.
_DRAFT = "_draft-"


@dataclass(frozen=True)
class StoredFile:
    """A file: its address or absolute path, its bytes, when it was written (ns since 1970)."""

    address: str
    size: int
    changed: int | None


def absolute(place: str) -> str:
    """An address as it is; a path as every process on this machine understands it."""
    return place if is_address(place) else str(Path(place).resolve())


def stored_files(
    places: Sequence[str], any_name: bool = False
) -> tuple[list[StoredFile], list[str]]:
    """The files at addresses and paths, in order, and those of folders that were left out.

    A folder stands for its files, sorted, whose names tell a format (`any_name`: all). Raises
    MissingInputError for a place where there is nothing, or that cannot be read.
    """
    found: list[StoredFile] = []
    left_out: list[str] = []
    for place in places:
        if is_address(place):
            files, others = _listed(place, any_name)
            found += files
            left_out += others
            continue
        paths, skipped = find_files([Path(place)], any_name)
        left_out += map(str, skipped)
        for path in paths:
            status = path.stat()
            found.append(StoredFile(absolute(str(path)), status.st_size, status.st_mtime_ns))
    return found, left_out


def _listed(address: str, any_name: bool) -> tuple[list[StoredFile], list[str]]:
    """The file at an address, or the files in a folder there, and those that were left out."""
    from pyarrow.fs import FileSelector, FileType, PyFileSystem

    system, path = file_system(address)
    base = without_query(address).rstrip("/")
    query = address.removeprefix(without_query(address))
    with _told(address):
        (info,) = system.get_file_info([path])
        if info.type == FileType.NotFound:
            raise MissingInputError(f"There is nothing at {address}.", "Check the address.")
        if info.type != FileType.Directory:
            return [StoredFile(base + query, info.size, info.mtime_ns)], []
        infos = system.get_file_info(FileSelector(path, recursive=True))
    found: list[StoredFile] = []
    left_out: list[str] = []
    for info in sorted(infos, key=lambda each: str(each.path)):
        below = info.path.removeprefix(path.rstrip("/"))
        hidden = any(part.startswith((".", "_")) for part in PurePosixPath(below).parts)
        if info.type != FileType.File or hidden:
            continue
        name = base + (below if isinstance(system, PyFileSystem) else quote(below))
        if any_name or has_known_name(Path(below)):
            found.append(StoredFile(name + query, info.size, info.mtime_ns))
        else:
            left_out.append(name)
    if not found:
        raise MissingInputError(
            f"There are no messages in {address}.",
            "Give a folder with files whose names tell their format, such as .parquet.",
        )
    return found, left_out


@contextmanager
def opened(address: str) -> Iterator[BinaryIO]:
    """A file, to be read from its beginning, as it is: nothing is unpacked."""
    if not is_address(address):
        with Path(address).open("rb") as local:
            yield local
        return
    system, path = file_system(address)
    with _told(address):
        file = system.open_input_file(path)
        with io.BufferedReader(file, _BUFFER) as stream:
            yield cast(BinaryIO, stream)


def lines_at(address: str) -> Generator[bytes]:
    """The lines of a file, as `lines_of` gives them. Raises UsageError for an Excel file there."""
    path = Path(without_query(address))
    if not is_address(address):
        yield from lines_of(path)
        return
    if is_binary(path) and not is_parquet(address):
        raise UsageError(
            f"{address} is read from the disk only.", "Copy it here, or save it as Parquet."
        )
    with opened(address) as file:
        if is_parquet(address):
            yield from parquet_lines(file, address)
        else:
            yield from lines_in(file, path.name, address)


class Folder:
    """A folder whose files are each written in one step: whole, or not at all."""

    def __init__(self, place: str) -> None:
        self.place = absolute(place).rstrip("/") or "/"
        self._system, self._path = file_system(self.place)

    def names(self) -> list[str]:
        """The files in it, sorted; none if there is no folder. Drafts do not count."""
        from pyarrow.fs import FileSelector

        try:
            with _told(self.place):
                infos = self._system.get_file_info(FileSelector(self._path, allow_not_found=True))
        except NotADirectoryError:
            raise UsageError(f"{self.place} is a file.", "Name a folder.") from None
        names = (posixpath.basename(info.path) for info in infos)
        return sorted(name for name in names if not name.startswith(_DRAFT))

    def read(self, name: str) -> bytes:
        """The content of a file."""
        with _told(self.place), self._system.open_input_stream(self._at(name)) as stream:
            return cast(bytes, stream.read())

    def write(self, name: str, content: bytes) -> None:
        """Writes a file, in place of one of that name; it is there only when it is whole."""
        draft = self._at(_DRAFT + secrets.token_hex(8))
        with _told(self.place):
            self._system.create_dir(self._path)
            try:
                if is_address(self.place):
                    with self._system.open_output_stream(draft) as stream:
                        stream.write(content)
                else:
                    with Path(draft).open("wb") as file:
                        file.write(content)
                        file.flush()
                        os.fsync(file.fileno())
                self._system.move(draft, self._at(name))
            except BaseException:
                with suppress(OSError):
                    self._system.delete_file(draft)
                raise

    def remove(self, name: str) -> None:
        """Removes a file."""
        with _told(self.place):
            self._system.delete_file(self._at(name))

    def remove_drafts(self) -> None:
        """Removes what killed processes were writing; none may write while this is done."""
        from pyarrow.fs import FileSelector

        with _told(self.place):
            for info in self._system.get_file_info(FileSelector(self._path, allow_not_found=True)):
                if posixpath.basename(info.path).startswith(_DRAFT):
                    self._system.delete_file(info.path)

    def _at(self, name: str) -> str:
        return posixpath.join(self._path, name)


def file_system(place: str) -> "tuple[FileSystem, str]":
    """The file system of an address or a path, and the path in it.

    Those of pyarrow, and for other schemes those of fsspec. Raises MissingInputError for a scheme
    that is unknown or needs a library that is missing.
    """
    require("parquet", "pyarrow")
    import pyarrow
    from pyarrow.fs import FileSystem, FSSpecHandler, LocalFileSystem, PyFileSystem

    if not is_address(place):
        return LocalFileSystem(), str(Path(place).absolute())
    try:
        return cast("tuple[FileSystem, str]", FileSystem.from_uri(place))
    except (pyarrow.ArrowInvalid, pyarrow.ArrowNotImplementedError):
        pass
    except (OSError, pyarrow.ArrowException) as error:
        raise _unreachable(place, error) from error
    import fsspec

    scheme = place.partition(":")[0]
    if scheme.lower() not in fsspec.available_protocols():
        raise MissingInputError(
            f"{place} begins with {scheme}://, which is unknown.",
            "Use s3://, gs://, abfs://, hdfs://, https:// or a path.",
        )
    try:
        system, path = fsspec.core.url_to_fs(place)
    except (ImportError, ValueError) as error:
        raise _unreachable(place, error) from error
    return PyFileSystem(FSSpecHandler(system)), path


@contextmanager
def _told(address: str) -> Iterator[None]:
    """Lets what a file system of an object store raises name the address."""
    try:
        yield
    except SpamgptError:
        raise
    except OSError as error:
        if not is_address(address):
            raise
        raise _unreachable(address, error) from error


def _unreachable(address: str, error: Exception) -> MissingInputError:
    reason = str(error).partition("\n")[0].rstrip(".") or type(error).__name__
    return MissingInputError(
        f"{address} cannot be reached: {reason}.", "Check the address, and who may read it."
    )
