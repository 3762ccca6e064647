"""The workspace: immutable, versioned artifacts, each a folder with a manifest `artifact.json`."""

from spamgpt.workspace.artifact import KINDS, Artifact
from spamgpt.workspace.drafts import Draft
from spamgpt.workspace.manifest import (
    MANIFEST,
    NO_EFFECT,
    SCHEMA,
    artifact_name,
    library_versions,
    result_settings,
    sha256,
    version_number,
)
from spamgpt.workspace.store import Workspace

__all__ = [
    "KINDS",
    "MANIFEST",
    "NO_EFFECT",
    "SCHEMA",
    "Artifact",
    "Draft",
    "Workspace",
    "artifact_name",
    "library_versions",
    "result_settings",
    "sha256",
    "version_number",
]
