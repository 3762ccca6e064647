"""evaluate: scores a classifier on a split of labelled messages."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from spamgpt.device import Device, Precision
from spamgpt.errors import BadDataError, MissingInputError
from spamgpt.reporting import SILENT, Reporter
from spamgpt.workspace import NO_EFFECT, Artifact, Workspace, library_versions

if TYPE_CHECKING:
    import pandas as pd

    from spamgpt.classifier.model import SpamClassifier
    from spamgpt.evaluation.label_errors import Suspect
    from spamgpt.evaluation.metrics import Outcome
    from spamgpt.evaluation.report.content import LineageStep, Mistake, Report

Split = Literal["test", "validation", "train"]


@dataclass(frozen=True)
class EvaluateSettings:
    """`classifier` is a reference; None takes the newest.

    `prepared` None takes the data that the classifier was trained on, whose test split it has not
    seen. `split` is train, validation or test. `baseline` also trains simple models on the
    classifier's training split and scores them. The scores are those of `predict` in the same
    `precision`.
    """

    classifier: str | None = None
    prepared: str | None = None
    split: Split = "test"
    baseline: bool = False
    precision: Precision = "auto"
    device: Device = field(default="auto", metadata=NO_EFFECT)


def run(
    settings: EvaluateSettings, workspace: Workspace, reporter: Reporter = SILENT
) -> tuple[Artifact, dict[str, Any]]:
    """Writes metrics.json, predictions.csv and report.html; returns the artifact and the metrics.

    Raises UsageError, MissingInputError, IntegrityError or BadDataError.
    """
    from spamgpt.classifier.model import SpamClassifier
    from spamgpt.data.rows import LABEL, TEXT
    from spamgpt.data.tables import write_table
    from spamgpt.evaluation.report.content import REPORT_FILE, render

    artifact = workspace.newest("classifiers", settings.classifier)
    prepared = prepared_for(artifact, settings.prepared, workspace)
    table = read_split(prepared, settings.split)
    classifier = SpamClassifier.from_artifact(
        workspace, artifact, settings.device, settings.precision
    )
    outcome = answer(classifier, artifact, prepared, table, reporter)
    metrics = {
        "split": settings.split,
        "threshold": classifier.config.threshold if len(classifier.labels) == 2 else None,
        "temperature": classifier.config.temperature,
    } | _judge(outcome, table)
    metrics["seen_in_training"] = seen_in_training(artifact, table)
    if settings.baseline:
        own = workspace.input_of(artifact, "prepared")
        metrics["baselines"] = _baselines(own, outcome, metrics, table, reporter)
    report = _report(artifact, prepared, classifier, outcome, metrics, table, workspace, reporter)
    with workspace.new("evaluations", settings, inputs=[artifact, prepared]) as draft:
        (draft.folder / REPORT_FILE).write_text(render(report), encoding="utf-8")
        (draft.folder / "metrics.json").write_text(
            json.dumps(metrics, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
        )
        predictions = table[[LABEL]].assign(predicted=outcome.predicted)
        for index, label in enumerate(classifier.labels):
            predictions[f"probability_{label}"] = outcome.scores[:, index]
        write_table(predictions.assign(text=table[TEXT]), draft.folder / "predictions.csv")
        draft.counts.update(
            split=settings.split,
            messages=len(table),
            accuracy=metrics["accuracy"],
            seen_in_training=metrics["seen_in_training"],
        )
    return draft.artifact, metrics


def prepared_for(artifact: Artifact, named: str | None, workspace: Workspace) -> Artifact:
    """The prepared data a user named, or else that which a classifier was trained on."""
    if named is None:
        return workspace.input_of(artifact, "prepared")
    return workspace.newest("prepared", named)


def read_split(prepared: Artifact, split: Split) -> "pd.DataFrame":
    from spamgpt.data.tables import read_table

    return read_table(prepared.file(f"{split}.csv"))


def answer(
    classifier: "SpamClassifier",
    artifact: Artifact,
    prepared: Artifact,
    table: "pd.DataFrame",
    reporter: Reporter,
) -> "Outcome":
    """What a classifier answers for a split. Raises BadDataError for a label it does not know."""
    from spamgpt.data.rows import LABEL, TEXT
    from spamgpt.evaluation.metrics import Outcome

    unknown = sorted(set(table[LABEL]) - set(classifier.labels))
    if unknown:
        raise BadDataError(
            f"{prepared.reference} has labels that {artifact.reference} does not know: "
            f"{', '.join(unknown)}.",
            f"Evaluate on messages labelled {', '.join(classifier.labels)}.",
        )
    scores = classifier.score(list(table[TEXT]), reporter)
    if long := sum(windows > 1 for windows in scores.windows):
        reporter.note(
            f"Longer than the model's {classifier.context:,} tokens and read in overlapping "
            f"windows: {long:,}."
        )
    probabilities = scores.probabilities
    return Outcome(
        list(table[LABEL]),
        classifier.config.decide(probabilities),
        classifier.labels,
        classifier.config.positive_label,
        probabilities,
        probabilities,
    )


def seen_in_training(artifact: Artifact, table: "pd.DataFrame") -> int | None:
    """How many of the messages a classifier was trained on; None if it keeps no record of that."""
    from spamgpt.data.rows import TEXT
    from spamgpt.data.seen import SEEN_FILE, seen

    if SEEN_FILE not in artifact.files:
        return None
    return int(seen(table[TEXT], artifact.file(SEEN_FILE)).sum())


def _judge(outcome: "Outcome", table: "pd.DataFrame") -> dict[str, Any]:
    """The scores, their intervals, the operating points and the slices."""
    from spamgpt.data.rows import TEXT
    from spamgpt.evaluation.intervals import intervals, resample
    from spamgpt.evaluation.metrics import measure
    from spamgpt.evaluation.slices import FEWEST, SOURCE, slices, worst
    from spamgpt.evaluation.thresholds import describe_points, operating_points

    measured = measure(outcome)
    points = []
    if len(outcome.labels) == 2:
        positive = list(outcome.labels).index(outcome.positive_label)
        points = describe_points(
            operating_points(outcome.truth_indices == positive, outcome.scores[:, positive])
        )
    sources = list(table[SOURCE]) if SOURCE in table else None
    sliced = slices(list(table[TEXT]), outcome, sources)
    return measured | {
        "intervals": intervals(measured, resample(outcome)),
        "operating_points": points,
        "slices": sliced,
        "worst_slice": worst(sliced),
        "fewest_in_worst_slice": FEWEST,
    }


def _baselines(
    own: Artifact,
    outcome: "Outcome",
    metrics: Mapping[str, Any],
    table: "pd.DataFrame",
    reporter: Reporter,
) -> list[dict[str, Any]]:
    """The scores of each baseline on the same messages, and how far the classifier is ahead."""
    from spamgpt.data.rows import LABEL, TEXT
    from spamgpt.evaluation.baselines import baselines
    from spamgpt.evaluation.intervals import differences, intervals, mcnemar, resample
    from spamgpt.evaluation.metrics import measure

    reporter.note(f"Training the baselines on the training split of {own.reference}.")
    train = read_split(own, "train")
    resamples = resample(outcome)
    found = []
    for name, theirs in baselines(
        list(train[TEXT]),
        list(train[LABEL]),
        list(table[TEXT]),
        outcome.truth,
        outcome.labels,
        outcome.positive_label,
    ):
        measured, theirs_resampled = measure(theirs), resample(theirs)
        found.append(
            {
                "name": name,
                **measured,
                "intervals": intervals(measured, theirs_resampled),
                "difference": differences(metrics, resamples, measured, theirs_resampled),
                "mcnemar": mcnemar(outcome.correct, theirs.correct),
            }
        )
    return found


def _report(
    artifact: Artifact,
    prepared: Artifact,
    classifier: "SpamClassifier",
    outcome: "Outcome",
    metrics: Mapping[str, Any],
    table: "pd.DataFrame",
    workspace: Workspace,
    reporter: Reporter,
) -> "Report":
    """Everything that the page shows."""
    import pandas as pd

    import spamgpt
    from spamgpt.classifier.explanation import METHOD
    from spamgpt.data.rows import TEXT
    from spamgpt.evaluation.report.content import Report, surest_mistakes

    surest = surest_mistakes(
        list(table[TEXT]), outcome.truth, outcome.predicted, outcome.scores, outcome.labels
    )
    mistakes = []
    with reporter.task("Explaining the surest mistakes", len(surest), "messages") as task:
        for mistake in surest:
            mistakes.append(_explained(mistake, classifier))
            task.advance(1)
    suspects, checked = _suspects(artifact, workspace)
    recorded = "history.csv" in artifact.files
    history = pd.read_csv(artifact.file("history.csv")) if recorded else None
    lineage = _lineage(artifact, workspace)
    if prepared.reference not in [step.artifact for step in lineage]:
        lineage = _lineage(prepared, workspace) + lineage
    return Report(
        classifier=artifact.reference,
        prepared=prepared.reference,
        metrics=metrics,
        truth=outcome.truth,
        probabilities=outcome.scores,
        mistakes=mistakes,
        explained_by=f"{METHOD}.",
        suspects=suspects,
        checked_messages=checked,
        history=history,
        kept_epoch=artifact.counts.get("kept_epoch"),
        lineage=lineage,
        versions={"spamgpt": spamgpt.__version__, **library_versions()},
        substitutions=list(dict.fromkeys([*artifact.substitutions, *prepared.substitutions])),
    )


def _explained(mistake: "Mistake", classifier: "SpamClassifier") -> "Mistake":
    """The mistake with what drove its answer."""
    from spamgpt.classifier.explanation import explain
    from spamgpt.evaluation.report.content import Highlight

    spans = explain(classifier, mistake.text, mistake.predicted)
    highlights = [Highlight(span.start, span.end, span.weight) for span in spans]
    return replace(mistake, highlights=highlights)


def _suspects(artifact: Artifact, workspace: Workspace) -> "tuple[list[Suspect] | None, int]":
    """The doubtful labels of a classifier's training data, and how many labels were checked.

    None if the data is gone or has too few messages.
    """
    from spamgpt.data.rows import LABEL, TEXT
    from spamgpt.evaluation.label_errors import find_label_errors

    try:
        train = read_split(workspace.input_of(artifact, "prepared"), "train")
        return find_label_errors(list(train[TEXT]), list(train[LABEL])), len(train)
    except (MissingInputError, ValueError):
        return None, 0


def _lineage(artifact: Artifact, workspace: Workspace) -> "list[LineageStep]":
    """What an artifact stands on, first things first, and itself."""
    from spamgpt.evaluation.report.content import LineageStep

    steps = []
    for entry in artifact.manifest["inputs"]:
        try:
            found = workspace.input_of(artifact, entry["artifact"].split("/")[0])
        except MissingInputError:
            steps.append(LineageStep("gone", entry["artifact"], entry["digest"], {}))
        else:
            steps += _lineage(found, workspace)
    told = {name: value for name, value in artifact.settings.items() if value is not None}
    return [
        *steps,
        LineageStep(artifact.manifest["stage"], artifact.reference, artifact.digest, told),
    ]
