"""spamgpt artifacts"""

from typing import Annotated

import typer

from spamgpt.cli.options import (
    DEFAULT_WORKSPACE,
    DebugOption,
    JsonOption,
    WorkspaceOption,
    reports_errors,
)
from spamgpt.errors import IntegrityError
from spamgpt.workspace import Artifact, Workspace


@reports_errors
def command(
    verify: Annotated[
        bool, typer.Option("--verify", help="Hash every file and compare with its manifest.")
    ] = False,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """List what the workspace holds, and what was made from what."""
    from spamgpt.cli.screen import ScreenReporter, show_json, show_result

    store = Workspace(workspace)
    whole: list[Artifact] = []
    damaged: list[IntegrityError] = []
    for folder in store.folders():
        try:
            artifact = store.read(folder)
            for name in artifact.files:
                if verify:
                    artifact.check(name, always_hash=True)
            whole.append(artifact)
        except IntegrityError as error:
            damaged.append(error)
    if json:
        show_json(
            {
                "artifacts": [{"artifact": a.reference, **a.manifest} for a in whole],
                "damaged": [damage.message for damage in damaged],
            }
        )
    elif whole:
        show_result([(artifact.reference, _describe(artifact, verify)) for artifact in whole])
    else:
        ScreenReporter().note(f"{workspace} holds no artifacts. Begin with: spamgpt fetch")
    for damage in damaged:
        ScreenReporter().warn(damage.message)
    if damaged:
        raise IntegrityError(
            f"{len(damaged)} artifacts are damaged.", "Delete their folders and make them again."
        )


def _describe(artifact: Artifact, verified: bool) -> str:
    manifest = artifact.manifest
    size = sum(file["size"] for file in manifest["files"].values())
    parts = [manifest["created"][:16].replace("T", " "), f"{size / 1e6:,.1f} MB"]
    if inputs := [entry["artifact"] for entry in manifest["inputs"]]:
        parts.append("from " + " and ".join(inputs))
    if verified:
        parts.append("verified")
    return "  ".join(parts)
