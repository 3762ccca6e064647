"""spamgpt evaluate"""

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
from spamgpt.device import set_threads
from spamgpt.stages.evaluate import EvaluateSettings, run
from spamgpt.workspace import Workspace


@reports_errors
def command(
    split: SplitNameOption = EvaluateSettings.split,
    classifier: Annotated[
        str | None, typer.Option(help="Which classifier (v1).", show_default="newest")
    ] = None,
    prepared: PreparedOption = None,
    baseline: Annotated[
        bool,
        typer.Option(
            "--baseline",
            help="Also train TF-IDF with a linear SVM and with logistic regression on the same "
            "messages, and say who is ahead.",
        ),
    ] = EvaluateSettings.baseline,
    precision: PrecisionOption = EvaluateSettings.precision,
    max_batch_tokens: MaxBatchTokensOption = EvaluateSettings.max_batch_tokens,
    device: DeviceOption = EvaluateSettings.device,
    threads: ThreadsOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    quiet: QuietOption = False,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Score a classifier on labelled messages, by default on the test split it never saw.

    Intervals hold the true score 95 times in 100, had other messages been drawn. What a filter
    would catch is told for several shares of good messages lost.
    """
    set_threads(threads)
    from spamgpt.cli.output.scores import show_metrics, tell_report
    from spamgpt.cli.output.screen import ScreenReporter, show_json, warn_of_substitutions

    settings = settings_from(EvaluateSettings, locals())
    reporter = ScreenReporter(quiet)
    artifact, metrics = run(settings, Workspace(workspace), reporter)
    warn_of_substitutions(artifact, reporter)
    if json:
        show_json(artifact.summary | metrics)
        return
    show_metrics(artifact, metrics)
    tell_report(artifact, reporter)
