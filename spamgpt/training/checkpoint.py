"""Unfinished fine-tuning runs in the workspace: saved now and then, resumed, removed when done."""

import hashlib
import json
import pickle
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from spamgpt.errors import IntegrityError, SpamgptError, UsageError

_FOLDER = "checkpoints"
_STATE_FILE, _SETTINGS_FILE = "state.pt", "run.json"


@dataclass(frozen=True)
class Checkpoint:
    """The place of one run: a folder named after the run's settings and inputs."""

    folder: Path

    @classmethod
    def of_run(cls, workspace_root: Path, run: Mapping[str, Any]) -> "Checkpoint":
        """`run` holds the settings and inputs, as JSON values; equal runs share a place."""
        key = hashlib.sha256(json.dumps(run, sort_keys=True).encode()).hexdigest()[:12]
        return cls(workspace_root / _FOLDER / key)

    @classmethod
    def all(cls, workspace_root: Path) -> "list[Checkpoint]":
        """The runs that can be resumed, the one saved last at the end."""
        found = (workspace_root / _FOLDER).glob(f"*/{_STATE_FILE}")
        return [cls(path.parent) for path in sorted(found, key=lambda path: path.stat().st_mtime)]

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Keeps two processes from working on the same run; raises UsageError for the second."""
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.folder / ".lock", timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise UsageError(
                "The same fine-tuning is running already.",
                "Wait for it, or change an option (another --seed, say).",
            ) from None
        try:
            yield
        finally:
            lock.release()
            if not self.exists():
                self.remove()

    def exists(self) -> bool:
        return (self.folder / _STATE_FILE).exists()

    def run_record(self) -> dict[str, Any]:
        """The settings and inputs of the run."""
        record: dict[str, Any] = json.loads((self.folder / _SETTINGS_FILE).read_text("utf-8"))
        return record

    def save(self, run: Mapping[str, Any], state: Mapping[str, Any]) -> None:
        """Replaces what was saved before, or leaves it as it was if the disk is full."""
        (self.folder / _SETTINGS_FILE).write_text(json.dumps(run), encoding="utf-8")
        unfinished = self.folder / f"{_STATE_FILE}.new"
        try:
            torch.save(dict(state), unfinished)
            unfinished.replace(self.folder / _STATE_FILE)
        except RuntimeError as error:  # how torch reports a failed write
            unfinished.unlink(missing_ok=True)
            raise SpamgptError(
                f"The checkpoint could not be written to {self.folder}: {error}",
                "Is the disk full? Make room and go on with --resume.",
            ) from error

    def load(self) -> dict[str, Any]:
        """What `save` wrote: tensors and plain values, nothing that could run code."""
        path = self.folder / _STATE_FILE
        try:
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        except (RuntimeError, pickle.UnpicklingError, EOFError) as error:
            raise IntegrityError(
                f"{path} is damaged.", f"Delete {self.folder} and start again without --resume."
            ) from error
        return state

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        with suppress(OSError):  # other runs may be there
            self.folder.parent.rmdir()
