"""What an evaluation stands on: every artifact that had a part in it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from spamgpt.errors import MissingInputError
from spamgpt.workspace import Artifact, Workspace


@dataclass(frozen=True)
class LineageStep:
    """One artifact that a classifier stands on."""

    stage: str
    artifact: str
    digest: str
    settings: Mapping[str, Any]


def lineage_of(artifacts: Sequence[Artifact], workspace: Workspace) -> list[LineageStep]:
    """What artifacts stand on, first things first, and themselves; each once."""
    steps: dict[str, LineageStep] = {}
    for artifact in artifacts:
        for entry in artifact.manifest["inputs"]:
            try:
                found = workspace.input_of(artifact, entry["artifact"].split("/")[0])
            except MissingInputError:
                step = LineageStep("gone", entry["artifact"], entry["digest"], {})
                steps.setdefault(step.artifact, step)
            else:
                for step in lineage_of([found], workspace):
                    steps.setdefault(step.artifact, step)
        told = {name: value for name, value in artifact.settings.items() if value is not None}
        step = LineageStep(artifact.manifest["stage"], artifact.reference, artifact.digest, told)
        steps.setdefault(artifact.reference, step)
    return list(steps.values())
