"""The files that messages stand in: found in folders, read plain or gzip, followed while they grow.

What stands in them is told apart in `rows.py` and `mail.py`.
"""

import gzip
import os
import time
import zlib
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from spamgpt.data import binary, rows
from spamgpt.data.mail import EML, MBOX
from spamgpt.data.records import pieces
from spamgpt.errors import BadDataError, MissingInputError

_SUFFIXES = {".eml": EML, ".mbox": MBOX, ".mbx": MBOX}
_LINES_SUFFIX = ".txt"

# Seconds between two looks at a file that is followed.
_LOOK_EVERY = 0.2
# What is read of it at once, and the most of a line that has no end yet.
_LONGEST_PART = 1 << 16


def plain_name(path: Path) -> str:
    """The name of a file without its `.gz`."""
    return path.stem if path.suffix.lower() == ".gz" else path.name


def format_of(path: Path) -> str:
    """The format that a file's name or its place in a Maildir tells; `lines` where none does."""
    if path.parent.name in _MAIL_FOLDERS and is_maildir(path.parent.parent):
        return EML
    name = plain_name(path)
    return _SUFFIXES.get(Path(name).suffix.lower()) or rows.format_of(name)


_MAIL_FOLDERS = ("cur", "new")


def is_maildir(folder: Path) -> bool:
    """Whether a folder holds mails as Maildir does: the read ones in `cur`, the others in `new`."""
    return all((folder / name).is_dir() for name in _MAIL_FOLDERS)


def find_files(paths: Sequence[Path], any_name: bool = False) -> tuple[list[Path], list[Path]]:
    """The files at these paths, in order, and the files of folders that were left out.

    A folder stands for all files in it, sorted, whose names tell a format (`any_name`: all) and
    for mailboxes under any name; hidden files are left out without a word, as is all in a Maildir
    but its mails. Raises MissingInputError for the first path that is not there, cannot be read,
    or is a folder without messages.
    """
    found: list[Path] = []
    left_out: list[Path] = []
    for path in paths:
        if not path.exists():
            raise MissingInputError(f"There is no file {path}.", "Check the path.")
        if not os.access(path, os.R_OK):
            raise MissingInputError(f"{path} cannot be read.", "Check its permissions.")
        if not path.is_dir():
            found.append(path)
            continue
        taken: list[Path] = []
        for file in _walk(path):
            wanted = any_name or has_known_name(file) or _is_mailbox(file)
            (taken if wanted else left_out).append(file)
        if not taken and not is_maildir(path):
            raise MissingInputError(
                f"There are no messages in {path}.",
                "Give a folder with files."
                if any_name
                else "Files need a name that ends in .eml, .mbox, .txt, .csv, .tsv, .jsonl, "
                ".parquet or .xlsx; `input_format=eml` reads files with any name.",
            )
        found += taken
    return found, left_out


def _walk(folder: Path) -> Iterator[Path]:
    """The files in a folder and the folders in it, sorted; of a Maildir only the mails."""
    maildir = is_maildir(folder)
    for entry in sorted(folder.iterdir()):
        # The folders of a Maildir have names that begin with a dot; `.Sent` is one.
        if entry.is_dir():
            inside_maildir = maildir and entry.name.startswith(".") and is_maildir(entry)
            hidden = entry.name.startswith(".") or entry.is_symlink()
            if maildir and entry.name in _MAIL_FOLDERS:
                yield from sorted(file for file in entry.iterdir() if _is_visible_file(file))
            elif inside_maildir or not (maildir or hidden):
                yield from _walk(entry)
        elif not maildir and _is_visible_file(entry):
            yield entry


def _is_visible_file(path: Path) -> bool:
    return path.is_file() and not path.name.startswith(".")


def has_known_name(path: Path) -> bool:
    """Whether the name of a file tells its format, plain text included."""
    return format_of(path) != rows.LINES or Path(plain_name(path)).suffix.lower() == _LINES_SUFFIX


def _is_mailbox(path: Path) -> bool:
    """Whether a file begins as an mbox does."""
    if not os.access(path, os.R_OK):
        return False
    try:
        with path.open("rb") as file, _unpacked(file, path.name) as stream:
            return stream.read(5) == b"From "
    except (OSError, EOFError, zlib.error):
        return False


def lines_of(path: Path, source: str | None = None) -> Generator[bytes]:
    """The lines of a file, plain or `.gz`, which is open while they are read.

    A long line comes in pieces, of which the last one has the line end (`records.pieces`).
    Parquet and Excel files come as JSON lines. Raises BadDataError for a file that is damaged or
    cut short, MissingInputError where a library is missing; `source` is the name used there, by
    default the path.
    """
    source = source or str(path)
    if is_binary(path):
        yield from binary.READERS[path.suffix.lower()](path, source)
        return
    with path.open("rb") as file:
        yield from lines_in(file, path.name, source)


def lines_in(file: BinaryIO, name: str, source: str) -> Iterator[bytes]:
    """The lines of an open text file, as `lines_of` gives them; its name tells if it is `.gz`."""
    with _unpacked(file, name) as stream:
        try:
            yield from pieces(stream)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise BadDataError(
                f"{source} cannot be unpacked: {error}",
                "It is not a gzip file, or it is incomplete.",
            ) from error


def skipped(left_out: Sequence[object]) -> str:
    """What is said of the files that `find_files` left out."""
    return (
        f"Files skipped because their names show no format: {len(left_out):,}, such as "
        f"{left_out[0]}. To read them, too, give `input_format`."
    )


def is_binary(path: Path) -> bool:
    """Whether a file holds a table in a format that is no text: Parquet or Excel."""
    return path.suffix.lower() in binary.READERS


@contextmanager
def _unpacked(file: BinaryIO, name: str) -> Iterator[BinaryIO]:
    if not name.lower().endswith(".gz"):
        yield file
        return
    with gzip.open(file, "rb") as stream:
        yield cast(BinaryIO, stream)


def follow(path: Path, look_every: float = _LOOK_EVERY) -> Iterator[bytes]:
    """The lines that are added to a file from now on, without end, as `tail -F -n 0` gives them.

    A line comes when its end has been written, but a long one in pieces. A file that is replaced
    under its name, as by rotation, is read to its end, and its successor from the beginning; so is
    one that was cut (copied and emptied) or that is not there yet. While it cannot be opened, or a
    folder has its name, it is waited for.
    """
    from_end = path.exists()
    while True:
        try:
            stream = path.open("rb", buffering=0)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError):
            time.sleep(look_every)
            continue
        with stream:
            if from_end:
                stream.seek(0, os.SEEK_END)
            yield from _lines_until_replaced(path, cast(BinaryIO, stream), look_every)
        from_end = False


def _lines_until_replaced(path: Path, stream: BinaryIO, look_every: float) -> Iterator[bytes]:
    rest = b""
    in_pieces = replaced = False  # whether a part of the line has been given already
    while True:
        while part := stream.read(_LONGEST_PART):
            *lines, rest = (rest + part).split(b"\n")
            for line in lines:
                in_pieces = False
                yield line + b"\n"
            if len(rest) >= _LONGEST_PART:
                in_pieces = True
                yield rest
                rest = b""
        status = os.fstat(stream.fileno())
        cut = status.st_size < stream.tell()
        if replaced or cut:
            if rest or in_pieces:
                yield rest + b"\n"  # what comes next is another line
            if replaced:
                return
            stream.seek(0)
            rest, in_pieces = b"", False
            continue
        try:
            replaced = not os.path.samestat(status, path.stat())
        except OSError:
            # Moved away; until its successor is there, the old one may still be written to.
            replaced = False
        if not replaced:
            time.sleep(look_every)
