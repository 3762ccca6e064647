"""spamgpt cache"""

from datetime import UTC, datetime
from typing import Annotated

import typer

from spamgpt.cli.options import (
    DEFAULT_WORKSPACE,
    DebugOption,
    JsonOption,
    WorkspaceOption,
    reports_errors,
)
from spamgpt.workspace import Workspace


@reports_errors
def command(
    clear: Annotated[bool, typer.Option("--clear", help="Remove all of it.")] = False,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Show or clear what is kept only to save time: the output of frozen blocks.

    Nothing is lost by clearing; the next fine-tuning computes it again.
    """
    from spamgpt.cli.output.screen import local_time, show_json, show_result
    from spamgpt.training.cache import ArrayCache

    cache = ArrayCache(Workspace(workspace).cache)
    entries = sorted(cache.entries(), key=lambda entry: entry.used)
    freed = cache.clear() if clear else 0
    if json:
        show_json({"entries": [entry.__dict__ for entry in entries], "freed": freed})
        return
    lines = [
        (
            f"{entry.size / 1e6:,.1f} MB",
            f"{entry.about}, used {local_time(datetime.fromtimestamp(entry.used, UTC))}",
        )
        for entry in entries
    ]
    if clear:
        show_result([("freed", f"{freed / 1e6:,.1f} MB")])
    else:
        total = sum(entry.size for entry in entries)
        show_result([*lines, ("in all", f"{total / 1e6:,.1f} MB in {cache.folder}")])
