"""spamgpt fetch"""

from spamgpt.cli.dataset_options import (
    DatasetOption,
    EncodingOption,
    HamOption,
    LabelledOption,
    SpamOption,
    labelled_from,
)
from spamgpt.cli.options import (
    DEFAULT_WORKSPACE,
    DebugOption,
    JsonOption,
    ModelOption,
    OfflineOption,
    QuietOption,
    SeedOption,
    WeightsOption,
    WorkspaceOption,
    reports_errors,
    settings_from,
)
from spamgpt.printable import counted
from spamgpt.stages.fetch import FetchSettings, run
from spamgpt.workspace import Artifact, Workspace


@reports_errors
def command(
    dataset: DatasetOption = None,
    spam: SpamOption = None,
    ham: HamOption = None,
    labelled: LabelledOption = None,
    encoding: EncodingOption = FetchSettings.encoding,
    model: ModelOption = None,
    weights: WeightsOption = FetchSettings.weights,
    seed: SeedOption = FetchSettings.seed,
    offline: OfflineOption = FetchSettings.offline,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    quiet: QuietOption = False,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Get a labelled data set and a pretrained GPT-2.

    spamgpt fetch --offline

    spamgpt fetch --dataset tickets.csv --model gpt2-medium

    spamgpt fetch --spam ~/Maildir/.Junk --ham ~/Maildir --dataset sms-spam-collection

    If the SMS Spam Collection or gpt2 cannot be downloaded, bundled-messages or mini is used
    instead, with a warning. What you ask for by name is never replaced.

    Downloads are verified against published hashes. Files that are in the workspace or in the
    Hugging Face cache are not downloaded again. To use a mirror of the Hub, set HF_ENDPOINT. A data
    file needs the columns label and text; if yours have other names, give them to spamgpt prepare.
    """
    from spamgpt.cli.output.screen import ScreenReporter, show_json, show_result

    settings = settings_from(FetchSettings, locals(), labelled=labelled_from(spam, ham, labelled))
    messages, gpt2 = run(settings, Workspace(workspace), ScreenReporter(quiet))
    if json:
        show_json({"dataset": messages.summary, "model": gpt2.summary})
        return
    show_result([describe_dataset(messages), describe_model(gpt2)])


def describe_dataset(dataset: Artifact) -> tuple[str, str]:
    """A data set's reference and what it holds."""
    counts = dataset.metadata
    labels = ", ".join(f"{count:,} {label}" for label, count in counts.get("labels", {}).items())
    text = counted(counts["messages"], "message") + (f": {labels}" if labels else "")
    return dataset.reference, text + _in_place_of(dataset)


def describe_model(model: Artifact) -> tuple[str, str]:
    """A model's reference and what it is."""
    shape = model.metadata
    text = (
        f"{counted(shape['n_layer'], 'block')}, {counted(shape['n_head'], 'head')}, "
        f"width {shape['n_embd']}, "
        f"{shape['weights']} weights"
    )
    return model.reference, text + _in_place_of(model)


def _in_place_of(artifact: Artifact) -> str:
    wanted = artifact.metadata.get("in_place_of")
    return f" (in place of {wanted['wanted']})" if wanted else ""
