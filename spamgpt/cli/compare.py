"""spamgpt compare"""

from typing import Annotated

import typer

from spamgpt.cli.options import (
    DEFAULT_WORKSPACE,
    DebugOption,
    DeviceOption,
    JsonOption,
    MaxBatchTokensOption,
    PrecisionOption,
    PreparedOption,
    QuietOption,
    SplitNameOption,
    ThreadsOption,
    WorkspaceOption,
    reports_errors,
    settings_from,
)
from spamgpt.device import keep_freed_memory, set_threads
from spamgpt.stages.compare import CompareSettings, run
from spamgpt.workspace import Workspace


@reports_errors
def command(
    classifiers: Annotated[
        list[str],
        typer.Argument(help="Two or more classifiers, such as v1 v2.", metavar="CLASSIFIER..."),
    ],
    split: SplitNameOption = CompareSettings.split,
    prepared: PreparedOption = None,
    precision: PrecisionOption = CompareSettings.precision,
    max_batch_tokens: MaxBatchTokensOption = CompareSettings.max_batch_tokens,
    device: DeviceOption = CompareSettings.device,
    threads: ThreadsOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    quiet: QuietOption = False,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Score classifiers side by side on the same messages.

    For each pair, McNemar's test looks at the messages that only one of the two got right: p is the
    probability that equally good classifiers differ at least this much. Without --prepared, the
    messages come from the data that the first classifier was trained on.
    """
    set_threads(threads)
    keep_freed_memory()
    from spamgpt.cli.output.scores import show_comparison
    from spamgpt.cli.output.screen import ScreenReporter, show_json

    settings = settings_from(CompareSettings, locals())
    found = run(settings, Workspace(workspace), ScreenReporter(quiet))
    if json:
        show_json(found.to_dict())
        return
    show_comparison(found)
