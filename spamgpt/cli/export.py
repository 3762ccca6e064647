"""spamgpt export"""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from spamgpt.cli.options import (
    DEFAULT_WORKSPACE,
    DebugOption,
    DeviceOption,
    JsonOption,
    QuietOption,
    ThreadsOption,
    WorkspaceOption,
    reports_errors,
    settings_from,
)
from spamgpt.device import set_threads
from spamgpt.stages.export import ExportSettings, run
from spamgpt.workspace import Workspace


@reports_errors
def command(
    classifier: Annotated[
        str,
        typer.Argument(
            help="Classifier to export: a version such as v1, bundled, a saved folder or a "
            ".spamgpt file.",
            show_default=False,
        ),
    ],
    to: Annotated[
        str,
        typer.Option(
            metavar="FORMAT",
            help="huggingface: a folder for transformers; hub:owner/name: the same, uploaded to "
            "the Hugging Face Hub; onnx: a file for onnxruntime; bundle: one file for spamgpt.",
            show_default=False,
        ),
    ],
    target: Annotated[
        Path | None,
        typer.Argument(help="Folder or file to write. Must not exist.", show_default=False),
    ] = None,
    int8: Annotated[
        bool,
        typer.Option(
            "--int8",
            help="For onnx: 8-bit weights, a smaller and faster file. Probabilities can change by "
            "a few hundredths; how much is measured.",
        ),
    ] = ExportSettings.int8,
    without_ngrams: Annotated[
        bool,
        typer.Option(
            "--without-ngrams",
            help="For huggingface and hub: leave out the classifier's linear model on n-grams, "
            "which transformers has no place for. How much the answers change is measured.",
        ),
    ] = ExportSettings.without_ngrams,
    device: DeviceOption = ExportSettings.device,
    threads: ThreadsOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    quiet: QuietOption = False,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Write a classifier in the format of another tool, or as one file.

    spamgpt export v1 --to huggingface spam-filter

    spamgpt export v1 --to huggingface spam-filter --without-ngrams

    spamgpt export v1 --to hub:owner/spam-filter

    spamgpt export v1 --to onnx spam-filter.onnx --int8

    spamgpt export v1 --to bundle spam-filter.spamgpt

    The folder loads in transformers with AutoModelForSequenceClassification and pipeline; the
    threshold is in its spamgpt.json and its README.md, because transformers has no place for one.
    It has none for n-grams either (finetune --ngrams): a classifier that has them leaves for it as
    GPT-2 alone, with --without-ngrams. Beside the ONNX file, spam-filter.py shows how to use it.
    The bundle runs anywhere: spamgpt predict --classifier spam-filter.spamgpt. A new repository on
    the Hub is private.
    """
    set_threads(threads)
    from spamgpt.cli.output.screen import ScreenReporter, show_json, show_result

    exported = run(
        settings_from(ExportSettings, locals()), Workspace(workspace), ScreenReporter(quiet)
    )
    if json:
        show_json(asdict(exported))
        return
    size = f"  {exported.size / 1e6:,.1f} MB" if exported.size is not None else ""
    shown = [(exported.target, f"{exported.to} from {exported.classifier}{size}")]
    if exported.agreement is not None:
        shown.append(("agreement", str(exported.agreement)))
    show_result(shown)
