"""What `artifact.json` records of an artifact, and how it is written: names, settings, hashes."""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spamgpt.errors import IntegrityError
from spamgpt.workspace.schema import problem_of

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

SCHEMA = 1
MANIFEST = "artifact.json"
# The metadata of a settings field that changes how a result is made, and not the result.
NO_EFFECT: Mapping[str, bool] = {"affects_result": False}

_VERSION = re.compile(r"v([1-9][0-9]*)")
_LIBRARIES = ("torch", "tiktoken", "safetensors", "pandas", "scikit-learn")


def result_settings(settings: "DataclassInstance") -> dict[str, Any]:
    """The settings that change what a stage makes: all but those marked NO_EFFECT."""
    without = {f.name for f in fields(settings) if not f.metadata.get("affects_result", True)}
    return {name: value for name, value in asdict(settings).items() if name not in without}


def artifact_name(text: str) -> str:
    """A folder name made of a file's, repository's or person's: letters, digits, `.`, `_`, `-`."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.").lower()
    # A name that looks like a version could not be told from one.
    return name if name and not version_number(name) else f"named-{name}"


def version_number(name: str) -> int:
    """The number of a version (`v3`), 0 for any other name."""
    match = _VERSION.fullmatch(name)
    return int(match[1]) if match else 0


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def library_versions() -> dict[str, str]:
    """The versions of the libraries whose numbers may change results."""
    versions = {}
    for library in _LIBRARIES:
        try:
            versions[library] = version(library)
        except PackageNotFoundError:
            continue
    return versions


def describe_files(folder: Path, digests: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Size, SHA-256 and time of each file in a folder, all of them safely on the disk by then.

    `digests` holds the SHA-256 of files that were hashed already.
    """
    described = {}
    for path in sorted(folder.iterdir()):
        with path.open("rb+" if os.access(path, os.W_OK) else "rb") as file:
            os.fsync(file.fileno())
        status = path.stat()
        described[path.name] = {
            "size": status.st_size,
            "sha256": digests.get(path.name) or sha256(path),
            "mtime_ns": status.st_mtime_ns,
        }
    return described


def digest_of_files(files: Mapping[str, Mapping[str, Any]]) -> str:
    """SHA-256 over the names and hashes of described files."""
    content = [[name, files[name]["sha256"]] for name in sorted(files)]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def manifest_bytes(manifest: Mapping[str, Any]) -> bytes:
    """The one way a manifest is written; its own checksum comes last.

    Bytes of a path that are not UTF-8 are spelled out, as JSON can.
    """
    content = {key: value for key, value in manifest.items() if key != "checksum"}
    text = json.dumps(content, ensure_ascii=False, sort_keys=True)
    content["checksum"] = hashlib.sha256(text.encode(errors="backslashreplace")).hexdigest()
    text = json.dumps(content, ensure_ascii=False, indent=2)
    return f"{text}\n".encode(errors="backslashreplace")


def read_manifest(folder: Path, kind: str) -> dict[str, Any]:
    """The manifest of the artifact of a kind in a folder.

    Raises IntegrityError if it is not as it was written, or lacks what every manifest holds.
    """
    path = folder / MANIFEST
    remedy = f"Delete {folder} and make it again."
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        raise IntegrityError(f"{path} is missing.", remedy) from None
    except OSError as error:
        raise IntegrityError(f"{path} cannot be read: {error.strerror}.", remedy) from error
    try:
        manifest = json.loads(text)
        intact = isinstance(manifest, dict) and text == manifest_bytes(manifest)
    except (ValueError, RecursionError):
        intact = False
    if not intact:
        raise IntegrityError(f"{path} is damaged: it is not as it was written.", remedy)
    if manifest.get("schema") != SCHEMA:
        raise IntegrityError(
            f"{path} has schema {manifest.get('schema')}, this spamgpt reads {SCHEMA}.",
            "Use the version of spamgpt that made it.",
        )
    problem = problem_of(manifest, kind)
    if not problem and digest_of_files(manifest["files"]) != manifest["digest"]:
        problem = "its digest is not that of its files"
    if problem:
        raise IntegrityError(f"{path} is no manifest of an artifact: {problem}.", remedy)
    return dict(manifest)
