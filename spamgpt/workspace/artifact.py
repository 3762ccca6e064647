"""One finished artifact: what its manifest tells, and its files, checked when they are read."""

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG
from typing import Any

from spamgpt.errors import IntegrityError
from spamgpt.workspace.manifest import MANIFEST, sha256

# What each kind of artifact is called in messages, and the command that makes it.
KINDS: Mapping[str, tuple[str, str]] = {
    "datasets": ("data set", "spamgpt fetch"),
    "models": ("pretrained model", "spamgpt fetch"),
    "prepared": ("prepared data", "spamgpt prepare"),
    "classifiers": ("classifier", "spamgpt finetune"),
    "evaluations": ("evaluation", "spamgpt evaluate"),
    "sweeps": ("sweep", "spamgpt sweep"),
    "predictions": ("saved predictions", "spamgpt predict --save"),
}


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
        """The settings of the stage that made it; IntegrityError for one that is not recorded."""
        return _Recorded(self.manifest["settings"], self)

    @property
    def metadata(self) -> dict[str, Any]:
        """What is worth knowing of it without opening its files, by name; as `settings`."""
        return _Recorded(self.manifest["counts"], self)

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
        """What a command tells of an artifact that it made."""
        told = {"substitutions": self.substitutions} if self.substitutions else {}
        return self.as_input | self.metadata | told

    @property
    def files(self) -> Sequence[str]:
        """The names of its files, the manifest not among them."""
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
            raise IntegrityError(f"{path} is not part of {self.reference}.", self.remedy)
        try:
            self._check(path, recorded, always_hash)
        except FileNotFoundError:
            raise IntegrityError(f"{path} is missing.", self.remedy) from None
        except OSError as error:
            raise IntegrityError(
                f"{path} cannot be read: {error.strerror}.", self.remedy
            ) from error

    def _check(self, path: Path, recorded: Mapping[str, Any], always_hash: bool) -> None:
        found = path.stat()
        if not S_ISREG(found.st_mode):
            raise IntegrityError(f"{path} is damaged: it is no file.", self.remedy)
        if found.st_size != recorded["size"]:
            raise IntegrityError(
                f"{path} is damaged: it has {found.st_size:,} bytes, not {recorded['size']:,}.",
                self.remedy,
            )
        untouched = found.st_mtime_ns == recorded["mtime_ns"]
        if untouched and not always_hash:
            return
        if sha256(path) != recorded["sha256"]:
            raise IntegrityError(
                f"{path} is damaged: its SHA-256 is not the recorded one.", self.remedy
            )
        if not untouched:
            # Copied with new times: put back the recorded time so that it is hashed only once.
            with suppress(OSError):  # of others, or on a read-only disk: then hashed every time
                os.utime(path, ns=(found.st_atime_ns, recorded["mtime_ns"]))

    @property
    def remedy(self) -> str:
        """What to do about it if it is damaged."""
        kind = self.reference.split("/")[0]
        return f"Delete {self.folder} and make it again: {KINDS[kind][1]}."


class _Recorded(dict[str, Any]):
    """What a manifest records by name; what it does not is told as damage of the artifact."""

    def __init__(self, values: Mapping[str, Any], of: Artifact) -> None:
        super().__init__(values)
        self._of = of

    def __missing__(self, name: str) -> Any:
        raise IntegrityError(
            f"{self._of.folder / MANIFEST} does not record {name!r}.", self._of.remedy
        )
