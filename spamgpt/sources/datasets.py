"""Labelled data sets: the SMS Spam Collection, and whatever a user names by path or address."""

import errno
import gzip
import logging
import shutil
import tempfile
import time
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

import pooch
import requests
import urllib3

from spamgpt.addresses import without_secrets
from spamgpt.bundled import MESSAGES_FILE, MESSAGES_NAME
from spamgpt.data.files import is_binary, plain_name
from spamgpt.data.rows import LINES, format_of
from spamgpt.errors import BadDataError, IntegrityError, MissingInputError, NetworkError
from spamgpt.reporting import Reporter
from spamgpt.sources.labelled import label_folders, write_labelled
from spamgpt.workspace import artifact_name, sha256

# An archive that unpacks to more is taken for an attack ("zip bomb").
LARGEST_UNPACKED = 100_000_000
# What does not end before is not a data set.
LARGEST_DOWNLOAD = 2_000_000_000
# Seconds to connect and to wait for the next bytes.
_TIMEOUT = (5, 10)
# Bytes a second that have come on average after so many seconds, or it is given up.
_LEAST_RATE, _PATIENCE = 1_000, 60
_LONGEST_NAME = 100
# Of a line that is looked at to tell a format.
_LONGEST_HEADER = 10_000
# The file of a data set that does not come as one.
_GATHERED = "messages.jsonl"
_OTHER_ARCHIVE = "Use another mirror, or give a copy that you trust: `dataset=FILE`"
# What zipfile lets through for archives that are damaged, encrypted or packed in unknown ways.
_DAMAGED_ZIP = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError)


@dataclass(frozen=True)
class PublishedDataset:
    """A data set with known addresses; `member` of the archive must have the SHA-256 `sha256`."""

    name: str
    urls: Sequence[str]
    member: str
    sha256: str


# Almeida, Gómez Hidalgo, Yamakami 2011; UCI 228; DOI 10.24432/C5CC84; CC BY 4.0. The second
# address is a backup that serves an archive of its own, hence the hash is the member's.
SMS_SPAM_COLLECTION = PublishedDataset(
    name="sms-spam-collection",
    urls=(
        "https://archive.ics.uci.edu/static/public/228/sms+spam+collection.zip",
        "https://f001.backblazeb2.com/file/LLMs-from-scratch/sms%2Bspam%2Bcollection.zip",
    ),
    member="SMSSpamCollection",
    sha256="7d039a24a6083ed9ef0f806ebad56bbb976e3aeb8de05669173bfdc4996c239d",
)


@dataclass(frozen=True)
class FetchedDataset:
    """A data set's file at hand: its name, where it is, and where it came from."""

    name: str
    file: Path
    origin: str


def obtain_dataset(
    source: str,
    folder: Path,
    reporter: Reporter,
    published: PublishedDataset = SMS_SPAM_COLLECTION,
) -> FetchedDataset:
    """Gets a data set by the name of a published or bundled one, by address, or by path.

    A path or URL leads to a file, or to a folder with a folder for each label; `hf:owner/dataset`
    is one on the Hub. `folder` takes downloads and what is unpacked: a gzip file, or a zip archive,
    which must hold the published collection or a single data file. Raises NetworkError,
    IntegrityError, BadDataError, UsageError or MissingInputError.
    """
    if source == published.name:
        return _download_published(published, folder, reporter)
    if source == MESSAGES_NAME:
        return FetchedDataset(MESSAGES_NAME, MESSAGES_FILE, "the spamgpt package")
    if source.startswith("hf:"):
        return _from_hub(source, folder, reporter)
    if "://" in source:
        file = _download(source, folder, reporter)
        origin = without_secrets(source)
    else:
        file = Path(source)
        origin = source
        if file.is_dir():
            name = artifact_name(file.resolve().name)
            return _labelled(label_folders(file), name, origin, folder, reporter)
        if file.exists() and not file.is_file():
            file = _take_down(file, folder)
        elif not file.is_file():
            raise MissingInputError(
                f"There is no data set {source!r}.",
                f"Give {published.name}, {MESSAGES_NAME}, a CSV, TSV, JSONL, Parquet or Excel "
                "file, a folder, hf:owner/dataset, or a URL.",
            )
    if _is_zip(file) and not is_binary(file):  # a workbook is a zip archive, too
        member = _data_member(file, published, origin)
        file = _unpack(file, member, folder, origin)
        if member == published.member:
            _check_published(published, file, origin)
    elif _is_gzip(file):
        file = _gunzip(file, folder, origin)
    if sha256(file) == published.sha256:
        return FetchedDataset(published.name, file, origin)
    return FetchedDataset(artifact_name(file.stem), file, origin)


def _take_down(stream: Path, folder: Path) -> Path:
    """Writes what comes from a pipe, such as `<(command)`, into a file that tells its format."""
    named = stream.parent.name != "fd"  # of /dev/fd/63
    target = Path(tempfile.mkdtemp(dir=folder)) / (_file_name(stream.name) if named else "stream")
    with stream.open("rb") as source, target.open("wb") as file:
        first = source.readline(_LONGEST_HEADER)
        file.write(first)
        while part := source.read(1 << 20):
            file.write(part)
            if file.tell() > LARGEST_DOWNLOAD:
                raise BadDataError(
                    f"{stream} gives more than the {LARGEST_DOWNLOAD:,} bytes allowed.",
                    "Give the part of it that you need, or a file.",
                )
    if not target.suffix:
        if first.lstrip().startswith(b"{"):
            return target.rename(target.with_suffix(".jsonl"))
        if b"," in first and b"\t" not in first:
            return target.rename(target.with_suffix(".csv"))
    return target


def obtain_labelled(
    labelled: Sequence[tuple[str, str]], folder: Path, reporter: Reporter
) -> FetchedDataset:
    """Gathers the messages at pairs of a label and a path, such as a mailbox, into a file.

    Raises MissingInputError or BadDataError.
    """
    name = artifact_name("-".join(sorted({label for label, _ in labelled})))[:_LONGEST_NAME]
    origin = " and ".join(f"{label}={path}" for label, path in labelled)
    paths = [(label, Path(path)) for label, path in labelled]
    return _labelled(paths, name, origin, folder, reporter)


def _labelled(
    labelled: Sequence[tuple[str, Path]], name: str, origin: str, folder: Path, reporter: Reporter
) -> FetchedDataset:
    file = Path(tempfile.mkdtemp(dir=folder)) / _GATHERED
    write_labelled(labelled, file, reporter)
    return FetchedDataset(name, file, origin)


def _from_hub(source: str, folder: Path, reporter: Reporter) -> FetchedDataset:
    from spamgpt.sources.hub_datasets import HubDataset, write_hub_dataset

    dataset = HubDataset.parse(source)
    file = Path(tempfile.mkdtemp(dir=folder)) / _GATHERED
    origin = write_hub_dataset(dataset, file, reporter)
    return FetchedDataset(dataset.name, file, origin)


def _download_published(
    published: PublishedDataset, folder: Path, reporter: Reporter
) -> FetchedDataset:
    """Tries the addresses in turn; the first that serves the right file wins."""
    failures = []
    for url in published.urls:
        try:
            archive = _download(url, folder, reporter)
            file = _unpack(archive, published.member, folder, url)
            _check_published(published, file, url)
            return FetchedDataset(published.name, file, url)
        except (NetworkError, IntegrityError) as error:
            failures.append(error)
            if url != published.urls[-1]:
                reporter.note(f"{error.message} Trying the next address.")
    integrity = [error for error in failures if isinstance(error, IntegrityError)]
    kind = IntegrityError if len(integrity) == len(failures) else NetworkError
    raise kind(
        f"The data set {published.name} could not be downloaded from any of {len(failures)} "
        "addresses: " + " ".join(error.message for error in failures),
        "Check the network, or give a mirror or a copy: `dataset=URL` or `dataset=FILE`",
    )


def _check_published(published: PublishedDataset, file: Path, origin: str) -> None:
    found = sha256(file)
    if found != published.sha256:
        raise IntegrityError(
            f"{origin}: {published.member} is not the published file: SHA-256 is {found}, "
            f"expected {published.sha256}.",
            _OTHER_ARCHIVE,
        )


def _download(url: str, folder: Path, reporter: Reporter) -> Path:
    pooch.get_logger().setLevel(logging.WARNING)
    reporter.note(f"Downloading {without_secrets(url)}")
    try:
        path = pooch.retrieve(
            url,
            known_hash=None,
            fname=_file_name(unquote(urlsplit(url).path)),
            # A folder of its own: pooch would take a file of the same name for the one wanted.
            path=tempfile.mkdtemp(dir=folder),
            downloader=_receive,
        )
    except (requests.RequestException, urllib3.exceptions.HTTPError, ValueError) as error:
        raise NetworkError(
            f"{url} could not be downloaded: {_reason(error)}.",
            "Check the network and the address, or give a local file: `dataset=FILE`",
        ) from error
    return Path(path)


def _receive(url: str, output_file: str, pooch: object) -> None:
    """Downloads for pooch, but neither without end nor a byte a second.

    Raises what requests and urllib3 raise, or ValueError.
    """
    began = time.monotonic()
    with (
        requests.get(url, stream=True, timeout=_TIMEOUT) as response,
        Path(output_file).open("wb") as file,
    ):
        response.raise_for_status()
        # What has come, be it a byte: iter_content would wait for more, however long.
        while part := response.raw.read1(1 << 16, decode_content=True):
            file.write(part)
            if file.tell() > LARGEST_DOWNLOAD:
                raise ValueError(f"it is larger than the {LARGEST_DOWNLOAD:,} bytes allowed")
            seconds = time.monotonic() - began
            if seconds > _PATIENCE and file.tell() < _LEAST_RATE * seconds:
                raise ValueError(f"only {file.tell():,} bytes came in {seconds:.0f} seconds")


def _file_name(path: str) -> str:
    """The last part of a URL's or an archive's path, as a name that any file system takes."""
    return artifact_name(PurePosixPath(path).name or "download")[-_LONGEST_NAME:]


def _reason(error: Exception) -> str:
    """One short line out of the nested errors of the HTTP libraries."""
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"the server answered {error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.Timeout) or "timed out" in str(error):
        return f"the server did not answer within {max(_TIMEOUT)} seconds"
    if isinstance(
        error, requests.exceptions.ChunkedEncodingError | urllib3.exceptions.ProtocolError
    ):
        return "the connection ended before the whole file had come"
    if isinstance(error, requests.ConnectionError):
        return "the server cannot be reached"
    return str(error).rstrip(".")


def _is_zip(file: Path) -> bool:
    """Whether a file is a zip archive, or the beginning of one that lost its end on the way."""
    with file.open("rb") as start:
        return start.read(4) == b"PK\x03\x04" or zipfile.is_zipfile(file)


def _is_gzip(file: Path) -> bool:
    with file.open("rb") as start:
        return start.read(2) == b"\x1f\x8b"


def _gunzip(file: Path, folder: Path, origin: str) -> Path:
    """Writes what a gzip file holds into a folder of its own in `folder`, under the plain name."""
    target = Path(tempfile.mkdtemp(dir=folder)) / plain_name(file)
    try:
        with gzip.open(file) as packed, target.open("wb") as unpacked:
            while part := packed.read(1 << 20):
                unpacked.write(part)
                if unpacked.tell() > LARGEST_UNPACKED:
                    raise IntegrityError(
                        f"{origin} unpacks to more than the {LARGEST_UNPACKED:,} bytes allowed.",
                        "Unpack it yourself and give the file that you trust: `dataset=FILE`",
                    )
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise IntegrityError(f"{origin} cannot be unpacked: {error}.", _OTHER_ARCHIVE) from error
    return target


def _data_member(archive: Path, published: PublishedDataset, origin: str) -> str:
    with _reading(archive, origin) as file:
        names = [name for name in file.namelist() if not name.endswith("/")]
    candidates = [name for name in names if name == published.member] or [
        name for name in names if format_of(name) != LINES
    ]
    if len(candidates) != 1:
        raise IntegrityError(
            f"{origin} holds {len(candidates)} data files ({', '.join(names[:5])}), not one.",
            f"Give an archive with {published.member} or one CSV, TSV, JSONL, Parquet or Excel "
            "file.",
        )
    return candidates[0]


def _unpack(archive: Path, member: str, folder: Path, origin: str) -> Path:
    """Writes one member of a zip archive into a folder of its own in `folder`."""
    target = Path(tempfile.mkdtemp(dir=folder)) / _file_name(member)
    with _reading(archive, origin) as file:
        if member not in file.namelist():
            raise IntegrityError(f"{origin} has no {member}.", _OTHER_ARCHIVE)
        # What goes beyond the declared size is not unpacked, so that the bytes written and held in
        # memory are bounded; with its rarer methods, zipfile unpacks first and cuts afterwards.
        if file.getinfo(member).compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise IntegrityError(
                f"{origin}: {member} is not packed by the common method (deflate).",
                _OTHER_ARCHIVE,
            )
        with file.open(member) as packed, target.open("wb") as unpacked:
            shutil.copyfileobj(packed, unpacked)
    return target


@contextmanager
def _reading(archive: Path, origin: str) -> Iterator[zipfile.ZipFile]:
    """Opens a zip archive; whatever is found wrong while it is read is an IntegrityError."""
    try:
        with zipfile.ZipFile(archive) as file:
            _refuse_attacks(file, origin)
            yield file
    except (*_DAMAGED_ZIP, OSError) as error:
        # A made-up offset fails to be sought; other trouble of the system (a full disk) is not
        # the archive's.
        if isinstance(error, OSError) and error.errno != errno.EINVAL:
            raise
        raise IntegrityError(f"{origin} cannot be unpacked: {error}.", _OTHER_ARCHIVE) from error


def _refuse_attacks(file: zipfile.ZipFile, origin: str) -> None:
    """Raises IntegrityError for an archive that climbs out of its folder or fills the disk."""
    for name in file.namelist():
        path = PurePosixPath(name.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or any(":" in part for part in path.parts):
            raise IntegrityError(
                f"{origin} is not safe to unpack: {name!r} leads out of its folder.",
                _OTHER_ARCHIVE,
            )
    declared = sum(info.file_size for info in file.infolist())
    if declared > LARGEST_UNPACKED:
        raise IntegrityError(
            f"{origin} would unpack to {declared:,} bytes, more than the "
            f"{LARGEST_UNPACKED:,} allowed.",
            _OTHER_ARCHIVE,
        )
