from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from spamgpt.workspace import Artifact, Workspace


@dataclass(frozen=True)
class Settings:
    shape: str = "round"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "workspace")


@pytest.fixture
def make() -> Callable[..., Artifact]:
    """Makes an artifact of one file."""

    def make(
        workspace: Workspace,
        kind: str = "prepared",
        content: str = "content",
        inputs: tuple[Artifact, ...] = (),
        **options: object,
    ) -> Artifact:
        with workspace.new(kind, Settings(), inputs, **options) as draft:
            (draft.folder / "file.txt").write_text(content)
            draft.metadata["letters"] = len(content)
        return draft.artifact

    return make
