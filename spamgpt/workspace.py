"""The workspace: immutable, versioned artifacts, each a folder with a manifest `artifact.json`.

An artifact is written into a draft folder beside its target and renamed at the end, so a killed run
leaves nothing half-made. Its files are checked against the manifest when they are read.
"""

import hashlib
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

import spamgpt
from spamgpt.errors import IntegrityError, MissingInputError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

SCHEMA = 1
MANIFEST = "artifact.json"

# What each kind of artifact is called in messages, and the command that makes it.
KINDS: Mapping[str, tuple[str, str]] = {
    "datasets": ("data set", "spamgpt fetch"),
    "models": ("pretrained model", "spamgpt fetch"),
    "prepared": ("prepared data", "spamgpt prepare"),
    "classifiers": ("classifier", "spamgpt finetune"),
    "evaluations": ("evaluation", "spamgpt evaluate"),
    "predictions": ("saved predictions", "spamgpt predict --save"),
}
# The metadata of a settings field that changes how a result is made, and not the result.
NO_EFFECT: Mapping[str, bool] = {"affects_result": False}

_NAMED_KINDS = ("datasets", "models")
_VERSION = re.compile(r"v([1-9][0-9]*)")
_DRAFT = ".draft-"
_LOCK = ".lock"
_LAST_VERSION = ".last-version"
_LIBRARIES = ("torch", "tiktoken", "safetensors", "pandas", "scikit-learn")


@dataclass(frozen=True)
class Artifact:
    """One finished artifact. `reference` (`models/gpt2/v1`) is how people and manifests name it."""

    folder: Path
    reference: str
    manifest: Mapping[str, Any]

    @property
    def digest(self) -> str:
        """SHA-256 over the names and hashes of the files: equal content, equal digest."""
        return str(self.manifest["digest"])

    @property
    def settings(self) -> dict[str, Any]:
        return dict(self.manifest["settings"])

    @property
    def counts(self) -> dict[str, Any]:
        return dict(self.manifest["counts"])

    @property
    def name(self) -> str:
        """`gpt2` for `models/gpt2/v1`, `prepared` for `prepared/v1`."""
        return self.folder.parent.name

    @property
    def as_input(self) -> dict[str, str]:
        """How the manifest of another artifact names this one as what it was made from."""
        return {"artifact": self.reference, "digest": self.digest}

    @property
    def summary(self) -> dict[str, Any]:
        """What `--json` prints of an artifact that was made."""
        told = {"substitutions": self.substitutions} if self.substitutions else {}
        return self.as_input | self.counts | told

    @property
    def files(self) -> Sequence[str]:
        return list(self.manifest["files"])

    @property
    def substitutions(self) -> list[str]:
        """What this artifact stands on in place of what was wanted, each in a sentence."""
        return list(self.manifest.get("substitutions", ()))

    def file(self, name: str) -> Path:
        """The path of one of the files, checked.

        A file whose size and time are as recorded is trusted; any other is hashed again. Raises
        IntegrityError if it is missing or not what was recorded.
        """
        self.check(name)
        return self.folder / name

    def check(self, name: str, always_hash: bool = False) -> None:
        """Raises IntegrityError if a file is missing or differs from the manifest."""
        recorded = self.manifest["files"].get(name)
        path = self.folder / name
        if recorded is None:
            raise IntegrityError(f"{path} is not part of {self.reference}.", self._remedy)
        try:
            found = path.stat()
        except FileNotFoundError:
            raise IntegrityError(f"{path} is missing.", self._remedy) from None
        if found.st_size != recorded["size"]:
            raise IntegrityError(
                f"{path} is damaged: it has {found.st_size:,} bytes, not {recorded['size']:,}.",
                self._remedy,
            )
        untouched = found.st_mtime_ns == recorded["mtime_ns"]
        if untouched and not always_hash:
            return
        if sha256(path) != recorded["sha256"]:
            raise IntegrityError(
                f"{path} is damaged: its SHA-256 is not the recorded one.", self._remedy
            )
        if not untouched:
            # Copied with new times: put back the recorded time so that it is hashed only once.
            with suppress(OSError):  # of others, or on a read-only disk: then hashed every time
                os.utime(path, ns=(found.st_atime_ns, recorded["mtime_ns"]))

    @property
    def _remedy(self) -> str:
        kind = self.reference.split("/")[0]
        return f"Delete {self.folder} and make it again: {KINDS[kind][1]}."


@dataclass
class Draft:
    """An artifact being written: put files into `folder`, and counts worth knowing into `counts`.

    `digests` may hold the SHA-256 of files that were hashed already. `substitutions` tells what was
    taken in place of what; artifacts made from this one inherit it. When the `with` block of
    `Workspace.new` ends, `artifact` is the finished one.
    """

    folder: Path
    counts: dict[str, Any] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    substitutions: list[str] = field(default_factory=list)
    _artifact: Artifact | None = None

    @property
    def artifact(self) -> Artifact:
        assert self._artifact is not None, "the draft is not finished"
        return self._artifact


class Workspace:
    """The folder that holds a user's artifacts. Nothing is written before the first draft."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def cache(self) -> Path:
        """The folder of what is kept only to save time, and may be removed at any time."""
        return self.root / "cache"

    @contextmanager
    def new(
        self,
        kind: str,
        settings: "DataclassInstance",
        inputs: Sequence[Artifact] = (),
        name: str | None = None,
        stage: str | None = None,
        reuse: bool = False,
    ) -> Iterator[Draft]:
        """Makes an artifact: yields a draft and, unless the block raises, finishes it.

        `stage` is the one that makes it, by default the one that KINDS names. With `reuse` the
        newest of its kind is taken instead of a new one when it has the same settings and files.
        """
        parent = self.root / kind / name if name else self.root / kind
        started = time.monotonic()
        with self._draft_folder(parent) as folder:
            draft = Draft(folder)
            yield draft
            manifest: dict[str, Any] = {
                "schema": SCHEMA,
                "stage": stage or KINDS[kind][1].split()[1],
                "settings": asdict(settings),
                "inputs": [artifact.as_input for artifact in inputs],
                "substitutions": _all_substitutions(draft, inputs),
                "counts": draft.counts,
                "files": _describe_files(draft),
                "spamgpt": spamgpt.__version__,
                "libraries": library_versions(),
                "created": datetime.now(UTC).isoformat(),
                "seconds": round(time.monotonic() - started, 3),
            }
            manifest["digest"] = _digest_of_files(manifest["files"])
            equal = self._equal(parent, manifest) if reuse else None
            draft._artifact = equal or self._finish(folder, parent, manifest)

    def artifacts(self, kind: str | None = None) -> list[Artifact]:
        """All artifacts (of a kind), oldest first; raises IntegrityError for a damaged one."""
        return sorted(map(self.read, self.folders(kind)), key=_creation)

    def folders(self, kind: str | None = None) -> list[Path]:
        """The folders of the artifacts (of a kind), whole or damaged, in the order of stages."""
        found: list[Path] = []
        for each in [kind] if kind else KINDS:
            pattern = "*/v*" if each in _NAMED_KINDS else "v*"
            versions = [
                path
                for path in (self.root / each).glob(pattern)
                if _VERSION.fullmatch(path.name) and path.is_dir()
            ]
            found += sorted(versions, key=lambda path: (path.parent, _version_number(path)))
        return found

    def newest(self, kind: str, named: str | None = None) -> Artifact:
        """The newest artifact of a kind, or the one a user named.

        `named` may be a version (`v3`), a name (`gpt2`, its newest version), a name and version
        (`gpt2/v3`), or a whole reference (`models/gpt2/v3`). Raises MissingInputError.
        """
        what, command = KINDS[kind]
        folders = self.folders(kind)
        if not folders:
            raise MissingInputError(f"There is no {what} in {self.root}.", f"Make it: {command}")
        wanted = (named or "").removeprefix(f"{kind}/").strip("/")
        newest_of_name = {
            folder.parent: folder
            for folder in folders
            if wanted
            in ("", folder.name, folder.parent.name, f"{folder.parent.name}/{folder.name}")
        }
        if not newest_of_name:
            have = ", ".join(self._reference(folder) for folder in folders)
            raise MissingInputError(
                f"There is no {what} {named!r} in {self.root}.", f"It has: {have}"
            )
        return max(map(self.read, newest_of_name.values()), key=_creation)

    def up_to_date(
        self, kind: str, settings: Mapping[str, Any], inputs: Sequence[Artifact]
    ) -> Artifact | None:
        """The newest artifact that was made with these settings from the content of these inputs.

        Only the settings given are compared. Raises IntegrityError for a damaged artifact.
        """
        digests = [artifact.digest for artifact in inputs]
        for artifact in reversed(self.artifacts(kind)):
            if [entry["digest"] for entry in artifact.manifest["inputs"]] == digests and all(
                artifact.settings.get(name) == value for name, value in settings.items()
            ):
                for name in artifact.files:
                    artifact.check(name)
                return artifact
        return None

    def input_of(self, artifact: Artifact, kind: str) -> Artifact:
        """The artifact of a kind that another was made from; raises MissingInputError.

        It is known by its digest, so a copy of it under another name serves as well.
        """
        recorded = next(
            entry
            for entry in artifact.manifest["inputs"]
            if entry["artifact"].startswith(f"{kind}/")
        )
        folder = self.root / recorded["artifact"]
        folders = self.folders(kind)
        for candidate in [folder] * (folder in folders) + folders:
            found = self.read(candidate)
            if found.digest == recorded["digest"]:
                return found
        raise MissingInputError(
            f"{artifact.reference} stands on {recorded['artifact']}, which {self.root} no longer "
            "holds as it was.",
            f"Make it again with the same options: {KINDS[kind][1]}",
        )

    def read(self, folder: Path) -> Artifact:
        """The artifact in a folder; raises IntegrityError if its manifest is not as written."""
        path = folder / MANIFEST
        remedy = f"Delete {folder} and make it again."
        try:
            text = path.read_bytes()
        except FileNotFoundError:
            raise IntegrityError(f"{path} is missing.", remedy) from None
        try:
            manifest = json.loads(text)
            intact = isinstance(manifest, dict) and text == _manifest_bytes(manifest)
        except ValueError:
            intact = False
        if not intact:
            raise IntegrityError(f"{path} is damaged: it is not as it was written.", remedy)
        if manifest["schema"] != SCHEMA:
            raise IntegrityError(
                f"{path} has schema {manifest['schema']}, this spamgpt reads {SCHEMA}.",
                "Use the version of spamgpt that made it.",
            )
        return Artifact(folder, self._reference(folder), manifest)

    def _reference(self, folder: Path) -> str:
        return folder.relative_to(self.root).as_posix()

    @contextmanager
    def _draft_folder(self, parent: Path) -> Iterator[Path]:
        """A new folder for a draft, removed at the end unless it was renamed."""
        self.root.mkdir(parents=True, exist_ok=True)
        with self._lock():
            parent.mkdir(parents=True, exist_ok=True)
            _remove_abandoned_drafts(parent)
            folder = parent / f"{_DRAFT}{secrets.token_hex(4)}"
            folder.mkdir()
            in_use = FileLock(_lock_of(folder))
            in_use.acquire()
        try:
            yield folder
        finally:
            with self._lock():
                shutil.rmtree(folder, ignore_errors=True)
                in_use.release()
                _lock_of(folder).unlink(missing_ok=True)
                self._remove_if_empty(parent)

    def _equal(self, parent: Path, manifest: dict[str, Any]) -> Artifact | None:
        folders = self.folders(parent.relative_to(self.root).parts[0])
        newest = max(map(self.read, folders), key=_creation) if folders else None
        if (
            newest
            and newest.folder.parent == parent
            and all(
                newest.manifest[key] == manifest[key] for key in ("settings", "inputs", "digest")
            )
            and newest.substitutions == manifest["substitutions"]
        ):
            return newest
        return None

    def _finish(self, folder: Path, parent: Path, manifest: dict[str, Any]) -> Artifact:
        """Gives a draft the next version number; two runs at once get two numbers."""
        with self._lock():
            last = _last_version(parent)
            taken = [_version_number(path) for path in parent.glob("v*") if path.is_dir()]
            number = max([last, *taken]) + 1
            manifest["version"] = number
            (folder / MANIFEST).write_bytes(_manifest_bytes(manifest))
            target = parent / f"v{number}"
            _write_last_version(parent, number)
            folder.rename(target)
        return self.read(target)

    def _remove_if_empty(self, folder: Path) -> None:
        """Removes the folders of a first run that failed, so that it leaves nothing behind."""
        while folder != self.root and not any(folder.iterdir()):
            folder.rmdir()
            folder = folder.parent
        if [path.name for path in self.root.iterdir()] == [_LOCK]:
            (self.root / _LOCK).unlink()
            self.root.rmdir()

    def _lock(self) -> FileLock:
        return FileLock(self.root / _LOCK)


def result_settings(settings: "DataclassInstance") -> dict[str, Any]:
    """The settings that change what a stage makes: all but those marked NO_EFFECT."""
    without = {f.name for f in fields(settings) if not f.metadata.get("affects_result", True)}
    return {name: value for name, value in asdict(settings).items() if name not in without}


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def artifact_name(text: str) -> str:
    """A folder name made of a file's, repository's or person's: letters, digits, `.`, `_`, `-`."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.").lower()
    # A name that looks like a version could not be told from one.
    return name if name and not _VERSION.fullmatch(name) else f"named-{name}"


def _describe_files(draft: Draft) -> dict[str, dict[str, Any]]:
    described = {}
    for path in sorted(draft.folder.iterdir()):
        with path.open("rb+" if os.access(path, os.W_OK) else "rb") as file:
            os.fsync(file.fileno())
        status = path.stat()
        described[path.name] = {
            "size": status.st_size,
            "sha256": draft.digests.get(path.name) or sha256(path),
            "mtime_ns": status.st_mtime_ns,
        }
    return described


def _all_substitutions(draft: Draft, inputs: Sequence[Artifact]) -> list[str]:
    found = [text for artifact in inputs for text in artifact.substitutions]
    return list(dict.fromkeys([*found, *draft.substitutions]))


def _digest_of_files(files: Mapping[str, Mapping[str, Any]]) -> str:
    content = [[name, files[name]["sha256"]] for name in sorted(files)]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _manifest_bytes(manifest: Mapping[str, Any]) -> bytes:
    """The one way a manifest is written; its own checksum comes last."""
    content = {key: value for key, value in manifest.items() if key != "checksum"}
    text = json.dumps(content, ensure_ascii=False, sort_keys=True)
    content["checksum"] = hashlib.sha256(text.encode()).hexdigest()
    return (json.dumps(content, ensure_ascii=False, indent=2) + "\n").encode()


def library_versions() -> dict[str, str]:
    """The versions of the libraries whose numbers may change results."""
    versions = {}
    for library in _LIBRARIES:
        try:
            versions[library] = version(library)
        except PackageNotFoundError:
            continue
    return versions


def _creation(artifact: Artifact) -> tuple[str, str]:
    return artifact.manifest["created"], artifact.reference


def _version_number(folder: Path) -> int:
    match = _VERSION.fullmatch(folder.name)
    return int(match[1]) if match else 0


def _last_version(parent: Path) -> int:
    """The highest number ever given: those of deleted artifacts are not used again."""
    try:
        return int((parent / _LAST_VERSION).read_text())
    except (OSError, ValueError):
        return 0


def _write_last_version(parent: Path, number: int) -> None:
    unfinished = parent / f"{_LAST_VERSION}.new"
    unfinished.write_text(str(number))
    unfinished.replace(parent / _LAST_VERSION)


def _lock_of(draft: Path) -> Path:
    return draft.with_name(draft.name + ".lock")


def _remove_abandoned_drafts(parent: Path) -> None:
    """Drafts whose lock nobody holds were left by a killed run."""
    names = {path.name.removesuffix(".lock") for path in parent.glob(f"{_DRAFT}*")}
    for folder in map(parent.joinpath, names):
        try:
            with FileLock(_lock_of(folder), timeout=0):
                shutil.rmtree(folder, ignore_errors=True)
                _lock_of(folder).unlink(missing_ok=True)
        except Timeout:
            continue
