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
from spamgpt.device import keep_freed_memory, set_threads
from spamgpt.stages.evaluate import EvaluateSettings, run
from spamgpt.workspace import Workspace


@reports_errors
def command(
    split: SplitNameOption = EvaluateSettings.split,
    classifier: Annotated[
        str | None,
        typer.Option(
            help="Classifier to score: a version such as v1, bundled, a folder, or a file.",
            show_default="newest",
        ),
    ] = None,
    prepared: PreparedOption = None,
    baseline: Annotated[
        bool,
        typer.Option(
            "--baseline",
            help="Also train two baselines on the same messages and compare: TF-IDF with a linear "
            "SVM and with logistic regression.",
        ),
    ] = EvaluateSettings.baseline,
    explain_mistakes: Annotated[
        bool | None,
        typer.Option(
            help="In the report, highlight the words that led to the wrong answers.",
            show_default="yes; no with --json",
        ),
    ] = None,
    check_labels: Annotated[
        bool | None,
        typer.Option(
            help="In the report, list training labels that may be wrong.",
            show_default="yes; no with --json",
        ),
    ] = None,
    precision: PrecisionOption = EvaluateSettings.precision,
    max_batch_tokens: MaxBatchTokensOption = EvaluateSettings.max_batch_tokens,
    device: DeviceOption = EvaluateSettings.device,
    threads: ThreadsOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    quiet: QuietOption = False,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Score a classifier on labelled messages, by default on the test split.

    Each score has a 95 % confidence interval. With two labels, a table shows how much spam is
    caught at several false positive rates (the share of ham lost). A report in HTML is written,
    too.
    """
    set_threads(threads)
    keep_freed_memory()
    from spamgpt.cli.output.scores import show_metrics, tell_report
    from spamgpt.cli.output.screen import ScreenReporter, show_json, warn_of_substitutions

    settings = settings_from(
        EvaluateSettings,
        locals(),
        explain_mistakes=not json if explain_mistakes is None else explain_mistakes,
        check_labels=not json if check_labels is None else check_labels,
    )
    reporter = ScreenReporter(quiet)
    artifact, evaluation = run(settings, Workspace(workspace), reporter)
    warn_of_substitutions(artifact, reporter)
    if json:
        show_json(artifact.summary | evaluation.to_dict())
        return
    show_metrics(artifact, evaluation)
    tell_report(artifact, reporter)
