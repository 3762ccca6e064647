"""What users corrected: messages and the labels they should have got, in one file of the workspace.

The file is an SQLite database: a change is whole and on the disk before it is acknowledged, however
the process or the machine ends, and several processes can write at once.
"""

import hashlib
import json
import os
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, fields
from pathlib import Path

from spamgpt.data.encodings import without_surrogates
from spamgpt.data.seen import plain
from spamgpt.errors import BadDataError, IntegrityError, MissingInputError, SpamgptError, UsageError
from spamgpt.workspace import Workspace

CORRECTIONS_FILE = "corrections.sqlite3"

# Counts up when the table changes.
_SCHEMA = 1
_TABLE = "CREATE TABLE corrections (message BLOB PRIMARY KEY, label TEXT NOT NULL, text TEXT)"
# Seconds to wait for other processes, each of which holds the file for milliseconds.
_PATIENCE = 60.0


@dataclass(frozen=True)
class Correction:
    """A message and its right label."""

    text: str
    label: str


@dataclass(frozen=True)
class Changes:
    """How many messages were new, got another label, had the label already, or were forgotten."""

    new: int = 0
    relabelled: int = 0
    known: int = 0
    forgotten: int = 0


def same_message(text: str) -> bytes:
    """Equal for texts that are the same message: case, spaces and Unicode spelling do not count."""
    return hashlib.blake2b(plain(text).encode("utf-8", "replace"), digest_size=16).digest()


def digest_of(corrections: Sequence[Correction]) -> str | None:
    """SHA-256 over texts and labels in their order, None of nothing."""
    hashed = hashlib.sha256()
    for each in corrections:
        hashed.update(json.dumps([each.text, each.label]).encode() + b"\n")
    return hashed.hexdigest() if corrections else None


class Corrections:
    """The corrections of a workspace; the last word on a message counts.

    Every method opens the file anew, so one object serves all threads, and forks of a process. All
    raise SpamgptError if the disk is full or other processes hold the file for a minute,
    MissingInputError if it may not be opened, and IntegrityError if it is damaged.

    >>> from pathlib import Path
    >>> corrections = Corrections(Workspace(Path("workspace")))
    >>> corrections.teach("WIN a prize, call now", "spam")
    Changes(new=1, relabelled=0, known=0, forgotten=0)
    >>> corrections.teach("win a prize, call NOW", "ham").relabelled
    1
    >>> list(corrections)
    [Correction(text='win a prize, call NOW', label='ham')]
    >>> corrections.forget("Win a prize, call now").forgotten, len(corrections)
    (1, 0)
    """

    def __init__(self, workspace: Workspace) -> None:
        self.path = workspace.root / CORRECTIONS_FILE

    def teach(self, text: str, label: str) -> Changes:
        """Records the label of a message. It is on the disk when this returns.

        Raises BadDataError for a message without text, UsageError for an empty label.
        """
        return self.change([(text, label)])

    def forget(self, text: str) -> Changes:
        """Takes back what was taught of a message; its text is overwritten in the file."""
        return self.change([(text, None)])

    def change(self, changes: Iterable[tuple[str, str | None]]) -> Changes:
        """Teaches or, where the label is None, forgets several messages: all of them or none.

        Raises as `teach`.
        """
        rows = [(without_surrogates(text), label) for text, label in changes]
        for text, label in rows:
            if label is not None and not text.strip():
                raise BadDataError("The message has no text.", "There is nothing to learn from it.")
            if label is not None and not label.strip():
                raise UsageError("The label is empty.", "Name a label, such as spam.")
        if not rows or (all(label is None for _, label in rows) and not self.path.exists()):
            return Changes()
        with self._writing() as connection:
            counts = Counter(_change(connection, text, label) for text, label in rows)
        return Changes(*(counts[each.name] for each in fields(Changes)))

    def __iter__(self) -> Iterator[Correction]:
        """All corrections, in an order that does not depend on when they came."""
        rows = self._read("SELECT text, label FROM corrections ORDER BY message")
        return iter([Correction(text, label) for text, label in rows])

    def __len__(self) -> int:
        return sum(self.labels.values())

    @property
    def labels(self) -> dict[str, int]:
        """How many there are of each label."""
        query = "SELECT label, COUNT(*) FROM corrections GROUP BY label ORDER BY label"
        return {str(label): int(count) for label, count in self._read(query)}

    @property
    def digest(self) -> str | None:
        """`digest_of` all of them."""
        return digest_of(list(self))

    def _read(self, query: str) -> list[tuple[str, ...]]:
        """All rows at once: who reads slowly would keep others from writing."""
        if not self.path.exists():
            return []
        with self._connected() as connection:
            # Whoever was killed while it made the file has acknowledged nothing.
            return connection.execute(query).fetchall() if self._version(connection) else []

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction: on the disk when the block has ended, undone if it raises."""
        if not self.path.exists():
            self._create()
        with self._connected() as connection:
            # EXTRA: the folder is on the disk, too. What is forgotten is overwritten.
            connection.execute("PRAGMA synchronous = EXTRA")
            connection.execute("PRAGMA secure_delete = ON")
            connection.execute("BEGIN IMMEDIATE")
            if not self._version(connection):
                connection.execute(_TABLE)
                connection.execute(f"PRAGMA user_version = {_SCHEMA}")
            yield connection
            connection.execute("COMMIT")

    def _create(self) -> None:
        """An empty file that only its owner can read, as will be SQLite's journal beside it."""
        folder = self.path.parent
        folder.mkdir(parents=True, exist_ok=True)
        os.close(os.open(self.path, os.O_CREAT | os.O_WRONLY, 0o600))
        for each in (folder, folder.absolute().parent):
            _sync_folder(each)

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        try:
            # Also for reading: what a killed process left half-written is undone by the next.
            address = f"{self.path.absolute().as_uri()}?mode=rw"
            opened = sqlite3.connect(address, uri=True, timeout=_PATIENCE, isolation_level=None)
            with closing(opened) as connection:
                yield connection
        except sqlite3.Error as error:
            raise self._as_user_error(error) from error

    def _version(self, connection: sqlite3.Connection) -> int:
        """The schema of the file, 0 where there is none yet; raises IntegrityError for a later."""
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > _SCHEMA:
            raise IntegrityError(
                f"{self.path} has schema {version}, this spamgpt reads {_SCHEMA}.",
                "Use the version of spamgpt that made it, or a later one.",
            )
        return int(version)

    def _as_user_error(self, error: sqlite3.Error) -> SpamgptError:
        # The low byte; the others tell more.
        match getattr(error, "sqlite_errorcode", 0) & 0xFF:
            case sqlite3.SQLITE_FULL | sqlite3.SQLITE_IOERR:
                return SpamgptError(
                    f"{self.path} could not be written: {error}.",
                    "Is the disk full? Nothing that was acknowledged is lost.",
                )
            case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
                return SpamgptError(
                    f"Another process has held {self.path} for {_PATIENCE:g} seconds.",
                    "Run the command again.",
                )
            case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM:
                return MissingInputError(
                    f"{self.path} cannot be opened: {error}.", "Check its permissions."
                )
        return IntegrityError(
            f"{self.path} is damaged: {error}.", "Put back a copy of it, or move it away."
        )


def _change(connection: sqlite3.Connection, text: str, label: str | None) -> str:
    """Makes one change; returns which number of `Changes` it counts towards."""
    message = same_message(text)
    if label is None:
        gone = connection.execute("DELETE FROM corrections WHERE message = ?", (message,))
        return "forgotten" if gone.rowcount else "unknown"
    query = "SELECT label FROM corrections WHERE message = ?"
    before = connection.execute(query, (message,)).fetchone()
    connection.execute("REPLACE INTO corrections VALUES (?, ?, ?)", (message, label, text))
    if before is None:
        return "new"
    return "known" if before[0] == label else "relabelled"


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":
        return  # which has no such call and needs none
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
