"""spamgpt cache"""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from spamgpt.cli.options import (
    DEFAULT_WORKSPACE,
    DebugOption,
    JsonOption,
    WorkspaceOption,
    reports_errors,
)
from spamgpt.errors import UsageError
from spamgpt.workspace import Workspace

if TYPE_CHECKING:
    from spamgpt.training.checkpoint import Place

# How many of a run's inputs are named.
_SHOWN_SOURCES = 3


@reports_errors
def command(
    clear: Annotated[
        bool,
        typer.Option("--clear", help="Empty the cache. Interrupted runs can still be resumed."),
    ] = False,
    checkpoints: Annotated[
        bool,
        typer.Option(
            "--checkpoints", help="With --clear, also delete the checkpoints of interrupted runs."
        ),
    ] = False,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Show or clear the cache and the checkpoints of interrupted runs.

    The cache holds the outputs of the frozen blocks. It only saves time: the next fine-tuning
    recomputes what it needs. An interrupted finetune or pretrain continues from its checkpoint with
    --resume. The checkpoint of a run in progress is never deleted.
    """
    from spamgpt.cli.output.screen import local_time, show_json, show_result
    from spamgpt.training.cache import ArrayCache
    from spamgpt.training.checkpoint import clear_places, places

    if checkpoints and not clear:
        raise UsageError("--checkpoints goes with --clear.", "Use --clear --checkpoints.")
    root = Workspace(workspace).root
    cache = ArrayCache(Workspace(workspace).cache)
    entries = sorted(cache.entries(), key=lambda entry: entry.used)
    freed = cache.clear() + clear_places(root, resumable=checkpoints) if clear else 0
    runs = places(root)
    if json:
        show_json(
            {
                "entries": [entry.__dict__ for entry in entries],
                "checkpoints": [
                    {
                        "run": describe_run(place),
                        "folder": str(place.folder),
                        "size": place.size,
                        "saved": place.saved,
                        "in_progress": place.under_way,
                    }
                    for place in runs
                ],
                "freed": freed,
            }
        )
        return

    def when(moment: float) -> str:
        return local_time(datetime.fromtimestamp(moment, UTC))

    lines = [
        (_megabytes(entry.size), f"{entry.about}, used {when(entry.used)}") for entry in entries
    ]
    of_runs = [
        (_megabytes(place.size), f"checkpoint of {describe_run(place)}, saved {when(place.saved)}")
        for place in runs
    ]
    if clear:
        show_result([("freed", _megabytes(freed)), *of_runs])
        return
    total = sum(entry.size for entry in entries)
    lines.append(("in all", f"{_megabytes(total)} in {cache.folder}"))
    if of_runs:
        size = _megabytes(sum(place.size for place in runs))
        of_runs.append(("in all", f"{size} in {root / 'checkpoints'}"))
    show_result([*lines, *of_runs])


def describe_run(place: "Place") -> str:
    """What a run trains from what, and whether it can be resumed: `finetune of last-block ...`."""
    record = place.record or {}
    settings = record.get("settings", {})
    parts = [place.stage]
    if what := settings.get("unfreeze") or settings.get("name"):
        parts.append(f"of {what}")
    sources = [entry["artifact"] for entry in record.get("inputs", [])]
    sources += [name for name, _ in record.get("texts", [])]
    if sources:
        shown = sources[:_SHOWN_SOURCES]
        shown += [f"{len(sources) - len(shown)} more"] * (len(sources) > len(shown))
        parts.append(f"from {' and '.join(shown)}")
    if place.under_way:
        parts.append("(in progress)")
    elif not place.resumable:
        parts.append("(cannot be resumed)")
    return " ".join(parts)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
