"""The folder that holds a user's artifacts: what is in it, which is meant, how one is added."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spamgpt.addresses import without_secrets
from spamgpt.errors import MissingInputError
from spamgpt.reporting import SILENT, Reporter
from spamgpt.version import __version__
from spamgpt.workspace.artifact import KINDS, Artifact
from spamgpt.workspace.drafts import Draft, draft_folder, give_version
from spamgpt.workspace.manifest import (
    SCHEMA,
    describe_files,
    digest_of_files,
    library_versions,
    read_manifest,
    version_number,
)

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_NAMED_KINDS = ("datasets", "models", "sweeps")


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
        with draft_folder(self.root, parent) as folder:
            draft = Draft(folder)
            yield draft
            manifest: dict[str, Any] = {
                "schema": SCHEMA,
                "stage": stage or KINDS[kind][1].split()[1],
                "settings": _without_secrets(asdict(settings)),
                "inputs": [artifact.as_input for artifact in inputs],
                "substitutions": _all_substitutions(draft, inputs),
                "counts": draft.metadata,
                "files": describe_files(folder, draft.digests),
                "spamgpt": __version__,
                "libraries": library_versions(),
                "created": datetime.now(UTC).isoformat(),
                "seconds": round(time.monotonic() - started, 3),
            }
            manifest["digest"] = digest_of_files(manifest["files"])
            equal = self._equal(parent, manifest) if reuse else None
            draft.finished = equal or self.read(give_version(self.root, folder, manifest))

    def artifacts(self, kind: str | None = None) -> list[Artifact]:
        """All artifacts (of a kind), oldest first; raises IntegrityError for a damaged one."""
        return sorted(map(self.read, self.folders(kind)), key=_age)

    def folders(self, kind: str | None = None) -> list[Path]:
        """The folders of the artifacts (of a kind), whole or damaged, in the order of stages."""
        found: list[Path] = []
        for each in [kind] if kind else KINDS:
            pattern = "*/v*" if each in _NAMED_KINDS else "v*"
            versions = [
                path
                for path in (self.root / each).glob(pattern)
                if version_number(path.name) and path.is_dir()
            ]
            found += sorted(versions, key=lambda path: (path.parent, version_number(path.name)))
        return found

    def newest(self, kind: str, named: str | None = None, reporter: Reporter = SILENT) -> Artifact:
        """The newest artifact of a kind, or the one a user named; a choice is reported.

        `named` may be a version (`v3`), a name (`gpt2`, its newest version), a name and version
        (`gpt2/v3`), or a whole reference (`models/gpt2/v3`). What came along with an imported
        classifier is meant where it is named, or where there is nothing else. Raises
        MissingInputError.
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
        found = [self.read(folder) for folder in newest_of_name.values()]
        if not wanted and kind == "models":
            found = [each for each in found if each.manifest["stage"] != "import"] or found
        newest = max(found, key=_age)
        if not wanted and len(folders) > 1:
            reporter.note(
                f"Taking {newest.reference}, the newest of {len(folders)}; to take another: "
                f"`{kind.removesuffix('s')}=NAME`"
            )
        return newest

    def up_to_date(
        self,
        kind: str,
        settings: Mapping[str, Any],
        inputs: Sequence[Artifact],
        fits: Callable[[Artifact], bool] = lambda artifact: True,
    ) -> Artifact | None:
        """The newest artifact that was made with these settings from the content of these inputs.

        Only the settings given are compared. `fits` tells of what was made from more than inputs
        whether that is as it was. Raises IntegrityError for a damaged artifact.
        """
        digests = [artifact.digest for artifact in inputs]
        for artifact in reversed(self.artifacts(kind)):
            if (
                [entry["digest"] for entry in artifact.manifest["inputs"]] == digests
                and all(artifact.settings.get(name) == value for name, value in settings.items())
                and fits(artifact)
            ):
                for name in artifact.files:
                    artifact.check(name)
                return artifact
        return None

    def input_of(self, artifact: Artifact, kind: str) -> Artifact:
        """The artifact of a kind that another was made from; raises MissingInputError.

        It is known by its digest, so a copy of it under another name serves as well.
        """
        inputs = artifact.manifest["inputs"]
        recorded = next((e for e in inputs if e["artifact"].startswith(f"{kind}/")), None)
        if recorded is None:
            raise MissingInputError(
                f"{artifact.reference} was made from no {KINDS[kind][0]} of {self.root}.",
                f"Name the {KINDS[kind][0]} to use.",
            )
        folder = self.root / recorded["artifact"]
        folders = self.folders(kind)
        for candidate in [folder] * (folder in folders) + folders:
            found = self.read(candidate)
            if found.digest == recorded["digest"]:
                return found
        raise MissingInputError(
            f"{artifact.reference} was made from {recorded['artifact']}, which {self.root} no "
            "longer has in that state.",
            f"Make it again with the same options: {KINDS[kind][1]}",
        )

    def read(self, folder: Path) -> Artifact:
        """The artifact in a folder; raises IntegrityError if its manifest is not as written."""
        reference = self._reference(folder)
        return Artifact(folder, reference, read_manifest(folder, reference.split("/")[0]))

    def _reference(self, folder: Path) -> str:
        return folder.relative_to(self.root).as_posix()

    def _equal(self, parent: Path, manifest: dict[str, Any]) -> Artifact | None:
        folders = self.folders(parent.relative_to(self.root).parts[0])
        newest = max(map(self.read, folders), key=_age) if folders else None
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


def _all_substitutions(draft: Draft, inputs: Sequence[Artifact]) -> list[str]:
    found = [text for artifact in inputs for text in artifact.substitutions]
    return list(dict.fromkeys([*found, *draft.substitutions]))


def _without_secrets(value: Any) -> Any:
    """Settings as they may be kept: in every text the secrets of addresses are hidden."""
    if isinstance(value, dict):
        return {name: _without_secrets(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_without_secrets(each) for each in value]
    return without_secrets(value) if isinstance(value, str) else value


def _age(artifact: Artifact) -> tuple[int, str, str]:
    """Sorts by the order of making; by the clock only what is from before that was recorded."""
    manifest = artifact.manifest
    return manifest.get("sequence", 0), manifest["created"], artifact.reference
