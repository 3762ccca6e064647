"""spamgpt fetch"""

from spamgpt.cli.options import (
    DEFAULT_WORKSPACE,
    DatasetOption,
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
from spamgpt.stages.fetch import FetchSettings, run
from spamgpt.workspace import Artifact, Workspace


@reports_errors
def command(
    dataset: DatasetOption = None,
    model: ModelOption = None,
    weights: WeightsOption = FetchSettings.weights,
    seed: SeedOption = FetchSettings.seed,
    offline: OfflineOption = FetchSettings.offline,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    quiet: QuietOption = False,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Bring a labelled data set and a pretrained GPT-2 into the workspace.

    Where gpt2 or the SMS Spam Collection cannot be reached and nothing was named, the bundled mini
    and bundled-messages stand in, with a warning.

    Downloads are checked against published hashes; what the workspace or the Hugging Face cache
    has is not downloaded again. HF_ENDPOINT names a mirror of the Hub. A data file has the columns
    label and text (others are kept); other names are chosen in prepare.
    """
    from spamgpt.cli.output.screen import ScreenReporter, show_json, show_result

    settings = settings_from(FetchSettings, locals())
    messages, gpt2 = run(settings, Workspace(workspace), ScreenReporter(quiet))
    if json:
        show_json({"dataset": messages.summary, "model": gpt2.summary})
        return
    show_result([describe_dataset(messages), describe_model(gpt2)])


def describe_dataset(dataset: Artifact) -> tuple[str, str]:
    """A data set's reference and what it holds."""
    counts = dataset.counts
    labels = ", ".join(f"{count:,} {label}" for label, count in counts.get("labels", {}).items())
    text = f"{counts['messages']:,} messages" + (f": {labels}" if labels else "")
    return dataset.reference, text + _in_place_of(dataset)


def describe_model(model: Artifact) -> tuple[str, str]:
    """A model's reference and what it is."""
    shape = model.counts
    text = (
        f"{shape['n_layer']} blocks, {shape['n_head']} heads, width {shape['n_embd']}, "
        f"{shape['weights']} weights"
    )
    return model.reference, text + _in_place_of(model)


def _in_place_of(artifact: Artifact) -> str:
    wanted = artifact.counts.get("in_place_of")
    return f" (in place of {wanted['wanted']})" if wanted else ""
