"""spamgpt artifacts"""

from datetime import datetime
from typing import Annotated

import typer

from spamgpt.cli.options import (
    DEFAULT_WORKSPACE,
    DebugOption,
    JsonOption,
    WorkspaceOption,
    reports_errors,
)
from spamgpt.errors import IntegrityError, MissingInputError
from spamgpt.gpt2.folder import CARD_FILE
from spamgpt.printable import counted
from spamgpt.workspace import Artifact, Workspace


@reports_errors
def command(
    name: Annotated[
        str | None,
        typer.Argument(
            help="Show the model card of this model (mini, models/mini/v1) or classifier "
            "(classifiers/v1); bundled is the classifier that comes with spamgpt.",
            show_default="list all artifacts",
        ),
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Check every file against the hash in its manifest.")
    ] = False,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """List the artifacts of the workspace and what each was made from, or show a model card."""
    from spamgpt.cli.output.screen import ScreenReporter, show_json, show_result
    from spamgpt.data.corrections import Corrections
    from spamgpt.training.checkpoint import places

    store = Workspace(workspace)
    if name is not None:
        _show_card(name, store, json)
        return
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
    runs = places(workspace)
    corrections = Corrections(store).labels
    if json:
        show_json(
            {
                "artifacts": [{"artifact": a.reference, **a.manifest} for a in whole],
                "damaged": [damage.message for damage in damaged],
                "checkpoints": [str(place.folder) for place in runs],
                "corrections": corrections,
            }
        )
    elif whole:
        show_result([(artifact.reference, _describe(artifact, verify)) for artifact in whole])
    else:
        ScreenReporter().note(f"{workspace} holds no artifacts. Start with: spamgpt fetch")
    if corrections and not json:
        told = ", ".join(f"{count:,} {label}" for label, count in corrections.items())
        ScreenReporter().note(f"Corrections: {told}. See: spamgpt learn")
    if runs and not json:
        size = sum(place.size for place in runs) / 1e6
        ScreenReporter().note(
            f"Runs that have not finished: {len(runs)}, with checkpoints of {size:,.1f} MB. "
            "See: spamgpt cache"
        )
    for text in dict.fromkeys(text for artifact in whole for text in artifact.substitutions):
        ScreenReporter().warn(text)
    for damage in damaged:
        ScreenReporter().warn(damage.message)
    if damaged and json:  # the object on standard output tells it already
        raise typer.Exit(IntegrityError.exit_status)
    if damaged:
        raise IntegrityError(
            f"Damaged: {counted(len(damaged), 'artifact')}.",
            "Delete their folders and make the artifacts again.",
        )


def _show_card(name: str, workspace: Workspace, json: bool) -> None:
    from spamgpt.bundled import CLASSIFIER_FOLDER, MINI_FOLDER, MINI_NAME
    from spamgpt.classifier.finding import BUNDLED
    from spamgpt.cli.output.screen import show_json, show_markdown

    bundled = {MINI_NAME: MINI_FOLDER, BUNDLED: CLASSIFIER_FOLDER}
    kind = "classifiers" if name.split("/")[0] == "classifiers" else "models"
    try:
        artifact = workspace.newest(kind, None if name == kind else name)
    except MissingInputError as error:
        if name not in bundled:
            hint = f"{error.hint}. Bundled: {', '.join(bundled)}"
            raise MissingInputError(error.message, hint) from error
        card = bundled[name] / CARD_FILE
    else:
        if CARD_FILE not in artifact.files:
            origin = artifact.metadata.get("origin", f"spamgpt {artifact.manifest['spamgpt']}")
            raise MissingInputError(
                f"{artifact.reference} came without a model card.", f"It is from {origin}."
            )
        card = artifact.file(CARD_FILE)
    text = card.read_text(encoding="utf-8")
    if json:
        show_json({"card": text})
    else:
        show_markdown(text)


def _describe(artifact: Artifact, verified: bool) -> str:
    from spamgpt.cli.output.screen import local_time

    manifest = artifact.manifest
    size = sum(file["size"] for file in manifest["files"].values())
    created = local_time(datetime.fromisoformat(manifest["created"]))
    parts = [created, f"{size / 1e6:,.1f} MB"]
    if inputs := [entry["artifact"] for entry in manifest["inputs"]]:
        parts.append("from " + " and ".join(inputs))
    if CARD_FILE in artifact.files:
        shown = artifact.name if artifact.reference.startswith("models/") else artifact.reference
        parts.append(f"model card: spamgpt artifacts {shown}")
    if verified:
        parts.append("verified")
    return "  ".join(parts)
