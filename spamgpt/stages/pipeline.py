"""All stages in order, each skipped where what it would make is there already."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from spamgpt.reporting import SILENT, Reporter
from spamgpt.stages import evaluate, fetch, finetune, prepare
from spamgpt.stages.evaluate import EvaluateSettings
from spamgpt.stages.fetch import FetchSettings
from spamgpt.stages.finetune import FinetuneSettings
from spamgpt.stages.plan import (
    resolve_hyperparameters,
    resolve_reading,
    with_hyperparameters,
    with_reading,
    with_threshold_goal,
)
from spamgpt.stages.prepare import PrepareSettings
from spamgpt.workspace import Artifact, Workspace, result_settings

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_SAME = "made with the same settings from the same inputs"


@dataclass(frozen=True)
class PipelineSettings:
    """The settings of each stage; which artifacts a stage takes is for the pipeline to say."""

    fetch: FetchSettings
    prepare: PrepareSettings
    finetune: FinetuneSettings
    evaluate: EvaluateSettings


@dataclass(frozen=True)
class Step:
    """A stage that is done: what it made or found, and why it was skipped, if it was."""

    stage: str
    artifacts: Sequence[Artifact]
    skipped: str | None = None

    @property
    def artifact(self) -> Artifact:
        """The last that it made."""
        return self.artifacts[-1]


def run(
    settings: PipelineSettings, workspace: Workspace, reporter: Reporter = SILENT
) -> Iterator[Step]:
    """Yields each stage when it is done. Raises what the stages raise."""
    before = workspace.folders()
    dataset, model = fetch.run(settings.fetch, workspace, reporter)
    there = dataset.folder in before and model.folder in before
    yield Step("fetch", [dataset, model], "the workspace has both" if there else None)

    step = prepare_from(dataset, settings.prepare, workspace, reporter)
    yield step
    prepared = step.artifact

    chosen = trained_settings(settings.finetune, prepared, model)
    found = trained_before(chosen, [prepared, model], workspace)
    classifier = found or finetune.run(chosen, workspace, reporter)
    yield Step("finetune", [classifier], _SAME if found else None)

    yield evaluate_on(prepared, classifier, settings.evaluate, workspace, reporter)


def prepare_from(
    dataset: Artifact, settings: PrepareSettings, workspace: Workspace, reporter: Reporter
) -> Step:
    """The data set prepared with these settings and the corrections of now, found or made."""
    settings = replace(settings, dataset=dataset.reference)
    found = workspace.up_to_date(
        "prepared",
        _compared(settings, "dataset"),
        [dataset],
        lambda artifact: prepare.takes_in(artifact, workspace),
    )
    prepared = found or prepare.run(settings, workspace, reporter)
    return Step("prepare", [prepared], _SAME if found else None)


def trained_settings(
    settings: FinetuneSettings, prepared: Artifact, model: Artifact
) -> FinetuneSettings:
    """The settings with these inputs and everything filled in, as a classifier records them."""
    filled = with_hyperparameters(settings, resolve_hyperparameters(settings, model))
    filled = with_reading(filled, resolve_reading(settings))
    return replace(
        with_threshold_goal(filled, prepared),
        prepared=prepared.reference,
        model=model.reference,
    )


def trained_before(
    settings: FinetuneSettings, inputs: Sequence[Artifact], workspace: Workspace
) -> Artifact | None:
    """The classifier that these settings, everything filled in, made before from these inputs."""
    compared = _compared(settings, "prepared", "model", "start_from")
    return workspace.up_to_date("classifiers", compared, inputs)


def evaluate_on(
    prepared: Artifact,
    classifier: Artifact,
    settings: EvaluateSettings,
    workspace: Workspace,
    reporter: Reporter,
) -> Step:
    """The evaluation of a classifier on prepared data, found or made."""
    settings = replace(settings, classifier=classifier.reference, prepared=prepared.reference)
    compared = _compared(settings, "classifier", "prepared")
    found = workspace.up_to_date("evaluations", compared, [classifier, prepared])
    evaluation = found or evaluate.run(settings, workspace, reporter)[0]
    return Step("evaluate", [evaluation], _SAME if found else None)


def _compared(settings: "DataclassInstance", *inputs: str) -> dict[str, Any]:
    """The settings that change the result, but for the inputs: these are compared by content."""
    return {k: value for k, value in result_settings(settings).items() if k not in inputs}
