"""Artifacts being written: draft folders, the locks that say who uses them, version numbers.

An artifact is written into a draft folder beside its target and renamed at the end, so a killed run
leaves nothing half-made.
"""

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from spamgpt.errors import IntegrityError
from spamgpt.workspace.artifact import KINDS, Artifact
from spamgpt.workspace.manifest import MANIFEST, manifest_bytes, read_manifest, version_number

_DRAFT = ".draft-"
_LOCK = ".lock"
_LAST_VERSION = ".last-version"


@dataclass
class Draft:
    """An artifact being written: put files into `folder`, what is worth knowing into `metadata`.

    The manifest calls the metadata `counts`. `digests` may hold the SHA-256 of files that were
    hashed already. `substitutions` tells what was taken in place of what; artifacts made from this
    one inherit it. When the `with` block of `Workspace.new` ends, `artifact` is the finished one.
    """

    folder: Path
    metadata: dict[str, Any] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    substitutions: list[str] = field(default_factory=list)
    finished: Artifact | None = None

    @property
    def artifact(self) -> Artifact:
        """The finished artifact; there is none before the block of `Workspace.new` has ended."""
        assert self.finished is not None, "the draft is not finished"
        return self.finished


@contextmanager
def draft_folder(root: Path, parent: Path) -> Iterator[Path]:
    """A new folder in `parent`, inside `root`; it is removed at the end unless it was renamed."""
    root.mkdir(parents=True, exist_ok=True)
    with _lock(root):
        parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(root)
        folder = parent / f"{_DRAFT}{secrets.token_hex(4)}"
        folder.mkdir()
        in_use = FileLock(_lock_of(folder))
        in_use.acquire()
    try:
        yield folder
    finally:
        with _lock(root):
            shutil.rmtree(folder, ignore_errors=True)
            in_use.release()
            _lock_of(folder).unlink(missing_ok=True)
            _remove_if_empty(root, parent)


def give_version(root: Path, folder: Path, manifest: dict[str, Any]) -> Path:
    """Renames a draft folder to the next version, which its manifest records; returns the new path.

    Two runs at once get two numbers. The manifest's `sequence` counts through all artifacts of the
    workspace: it says which of two is newer, whatever the clock was set to.
    """
    parent = folder.parent
    with _lock(root):
        taken = [version_number(path.name) for path in parent.glob("v*") if path.is_dir()]
        number = max([_last_version(parent), *taken]) + 1
        manifest["version"] = number
        manifest["sequence"] = max(_newest_sequences(root), default=0) + 1
        (folder / MANIFEST).write_bytes(manifest_bytes(manifest))
        target = parent / f"v{number}"
        _write_last_version(parent, number)
        folder.rename(target)
    return target


def _lock(root: Path) -> FileLock:
    return FileLock(root / _LOCK)


def _lock_of(draft: Path) -> Path:
    return draft.with_name(draft.name + ".lock")


def _remove_abandoned(root: Path) -> None:
    """Drafts of any kind whose lock nobody holds were left by a killed run."""
    # Models have names: they lie a folder deeper.
    found = [path for depth in ("*", "*/*") for path in root.glob(f"{depth}/{_DRAFT}*")]
    for folder in {path.with_name(path.name.removesuffix(".lock")) for path in found}:
        try:
            with FileLock(_lock_of(folder), timeout=0):
                shutil.rmtree(folder, ignore_errors=True)
                _lock_of(folder).unlink(missing_ok=True)
        except Timeout:
            continue


def _remove_if_empty(root: Path, folder: Path) -> None:
    """Removes the folders of a first run that failed, so that it leaves nothing behind."""
    while folder != root and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent
    if [path.name for path in root.iterdir()] == [_LOCK]:
        (root / _LOCK).unlink()
        root.rmdir()


def _last_version(parent: Path) -> int:
    """The highest number ever given: those of deleted artifacts are not used again."""
    try:
        return int((parent / _LAST_VERSION).read_text())
    except (OSError, ValueError):
        return 0


def _newest_sequences(root: Path) -> Iterator[int]:
    """The sequence numbers of the newest version under each name."""
    for kind in KINDS:
        versions = [*(root / kind).glob("v*"), *(root / kind).glob("*/v*")]
        versions.sort(key=lambda path: version_number(path.name))
        newest = {path.parent: path for path in versions if version_number(path.name)}
        for folder in newest.values():
            with suppress(IntegrityError):
                yield read_manifest(folder, kind).get("sequence", 0)


def _write_last_version(parent: Path, number: int) -> None:
    unfinished = parent / f"{_LAST_VERSION}.new"
    unfinished.write_text(str(number))
    unfinished.replace(parent / _LAST_VERSION)
