"""Unfinished training runs in the workspace: saved now and then, resumed, removed when done."""

import hashlib
import json
import pickle
import shutil
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from spamgpt.errors import IntegrityError, MissingInputError, SpamgptError

_FOLDER = "checkpoints"
_STATE_FILE, _RUN_FILE, _LOCK_FILE = "state.pt", "run.json", ".lock"
# Seconds of training that a run which is killed may lose, and how many times as long as saving
# took training has to go on before it is saved again: large models are saved less often.
_INTERVAL, _TIMES_COST = 10.0, 50.0


class CheckpointError(SpamgptError):
    """A state could not be saved; what was saved before is as it was."""


class Checkpoint:
    """The place of one run: a folder with the run's record and its last saved state.

    The record holds the run's settings and inputs as JSON values. A place is locked while its run
    is under way.
    """

    def __init__(self, folder: Path, record: Mapping[str, Any]) -> None:
        self.folder = folder
        self.record = record

    @classmethod
    @contextmanager
    def start(
        cls, workspace_root: Path, stage: str, record: Mapping[str, Any]
    ) -> "Iterator[Checkpoint]":
        """A place for a new run of a stage.

        Equal runs, under way or interrupted, keep theirs: only `--resume` goes on with those.
        """
        key = hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()[:12]
        for number in count(1):
            suffix = "" if number == 1 else f"-{number}"
            folder = workspace_root / _FOLDER / f"{stage}-{key}{suffix}"
            if cls(folder, record).is_resumable:
                continue
            folder.mkdir(parents=True, exist_ok=True)
            with suppress(Timeout), FileLock(folder / _LOCK_FILE, timeout=0):
                checkpoint = cls(folder, record)
                try:
                    yield checkpoint
                finally:
                    if not checkpoint.is_resumable:
                        checkpoint.remove()
                return

    @classmethod
    @contextmanager
    def resume(
        cls,
        workspace_root: Path,
        stage: str,
        wanted: Mapping[str, Any],
        fits: "Callable[[Checkpoint], bool]",
    ) -> "Iterator[Checkpoint]":
        """The place of the last saved run that fits and is not under way, locked.

        Raises MissingInputError if there is none, with what the last has besides the settings that
        are `wanted`.
        """
        interrupted = cls.interrupted(workspace_root, stage)
        for checkpoint in interrupted:
            if not fits(checkpoint):
                continue
            lock = FileLock(checkpoint.folder / _LOCK_FILE, timeout=0)
            with suppress(Timeout):
                lock.acquire()
                break
        else:
            hint = "Start a new run without `resume`."
            if interrupted:
                saved = interrupted[0].record["settings"].items()
                other = [
                    f"`{name}={value}`"
                    for name, value in saved
                    if name in wanted and value not in (None, wanted[name])
                ]
                hint = f"The last one has {' '.join(other) or 'other inputs, or is under way'}."
            raise MissingInputError(
                f"There is no interrupted run of {stage} with these settings and inputs in "
                f"{workspace_root}.",
                hint,
            )
        try:
            yield checkpoint
        finally:
            lock.release()

    @classmethod
    def start_or_resume(
        cls, workspace_root: Path, stage: str, record: Mapping[str, Any]
    ) -> AbstractContextManager["Checkpoint"]:
        """The place of the interrupted run with this very record, or that of a new run."""

        def fits(checkpoint: Checkpoint) -> bool:
            return checkpoint.record == record

        if any(map(fits, cls.interrupted(workspace_root, stage))):
            return cls.resume(workspace_root, stage, {}, fits)
        return cls.start(workspace_root, stage, record)

    @classmethod
    def interrupted(cls, workspace_root: Path, stage: str) -> "list[Checkpoint]":
        """The runs of a stage that have saved a state, the last saved first."""
        states = list((workspace_root / _FOLDER).glob(f"{stage}-*/{_STATE_FILE}"))
        states.sort(key=lambda path: path.stat().st_mtime, reverse=True)
        found = []
        for path in states:
            with suppress(OSError, ValueError):  # one that is damaged does not stand in the way
                record = json.loads((path.parent / _RUN_FILE).read_text(encoding="utf-8"))
                found.append(cls(path.parent, record))
        return found

    @property
    def is_resumable(self) -> bool:
        """Whether a state has been saved."""
        return (self.folder / _STATE_FILE).exists()

    def save(self, state: Mapping[str, Any]) -> None:
        """Replaces what was saved before; raises CheckpointError, as where the disk is full."""
        import torch

        unfinished = self.folder / f"{_STATE_FILE}.new"
        try:
            if not (self.folder / _RUN_FILE).exists():
                unfinished.write_text(json.dumps(self.record), encoding="utf-8")
                unfinished.replace(self.folder / _RUN_FILE)
            with unfinished.open("wb") as file:  # torch takes no path that is not UTF-8
                torch.save(dict(state), file)
            unfinished.replace(self.folder / _STATE_FILE)
        except (OSError, RuntimeError) as error:  # how torch reports a failed write
            with suppress(OSError):
                unfinished.unlink(missing_ok=True)
            raise CheckpointError(
                f"The checkpoint could not be written to {self.folder}.",
                "Is the disk full? Free some space.",
            ) from error

    def load(self) -> dict[str, Any]:
        """What `save` wrote: tensors and plain values, nothing that could run code."""
        import torch

        path = self.folder / _STATE_FILE
        try:
            with zipfile.ZipFile(path) as archive:  # torch.load does not look at the checksums
                if archive.testzip() is not None:
                    raise zipfile.BadZipFile
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        except (RuntimeError, pickle.UnpicklingError, EOFError, zipfile.BadZipFile) as error:
            raise IntegrityError(
                f"{path} is damaged.", f"Delete {self.folder} and start again without `resume`."
            ) from error
        return state

    def remove(self) -> None:
        """Removes the place with all that is in it."""
        shutil.rmtree(self.folder, ignore_errors=True)
        with suppress(OSError):  # other runs may be there
            self.folder.parent.rmdir()


@dataclass(frozen=True)
class Place:
    """What stands in the workspace of one run that has not ended.

    `record` is None if it cannot be read, `size` is in bytes, `saved` a Unix time. A run is
    `resumable` once it has saved a state; while it is `under_way` nobody else may touch its place.
    """

    folder: Path
    stage: str
    record: Mapping[str, Any] | None
    size: int
    saved: float
    resumable: bool
    under_way: bool


def places(workspace_root: Path) -> list[Place]:
    """The places of all runs that have not ended, the last saved first."""
    found = []
    for folder in (workspace_root / _FOLDER).glob("*-*"):
        with suppress(OSError):  # ended meanwhile
            files = [path.stat() for path in folder.iterdir()]
            record = None
            with suppress(OSError, ValueError):
                record = json.loads((folder / _RUN_FILE).read_text(encoding="utf-8"))
            found.append(
                Place(
                    folder,
                    folder.name.split("-")[0],
                    record if isinstance(record, dict) else None,
                    sum(file.st_size for file in files),
                    max((file.st_mtime for file in files), default=folder.stat().st_mtime),
                    (folder / _STATE_FILE).exists(),
                    _is_locked(folder),
                )
            )
    return sorted(found, key=lambda place: place.saved, reverse=True)


def clear_places(workspace_root: Path, resumable: bool) -> int:
    """Removes what killed runs left and, if so asked, what could be resumed; returns the bytes.

    What is under way stays.
    """
    freed = 0
    for place in places(workspace_root):
        if place.resumable and not resumable:
            continue
        with suppress(Timeout), FileLock(place.folder / _LOCK_FILE, timeout=0):
            Checkpoint(place.folder, place.record or {}).remove()
            freed += place.size
    return freed


def _is_locked(folder: Path) -> bool:
    if not (folder / _LOCK_FILE).exists():
        return False
    try:
        with FileLock(folder / _LOCK_FILE, timeout=0):
            return False
    except Timeout:
        return True


class Saving:
    """When a run is saved: after its first and its last measurement, and now and then in between.

    After the last, so that nothing has to be trained again should the disk be full at the end.
    Where several processes train, `agree` gives all of them the answer of one.
    """

    def __init__(
        self, save: Callable[[], None], agree: Callable[[bool], bool] = lambda due: due
    ) -> None:
        self._save = save
        self._agree = agree
        self._first = True
        self._began = time.monotonic()
        self._wait = _INTERVAL

    def after_step(self) -> None:
        """Saves if it is time."""
        if self._agree(time.monotonic() - self._began > self._wait):
            self._now()

    def after_record(self, last: bool) -> None:
        """Saves if it is the first or the `last` measurement, or time."""
        if self._first or last:
            self._now()
        else:
            self.after_step()
        self._first = False

    def _now(self) -> None:
        began = time.monotonic()
        self._save()
        self._began = time.monotonic()
        self._wait = max(_INTERVAL, _TIMES_COST * (self._began - began))
