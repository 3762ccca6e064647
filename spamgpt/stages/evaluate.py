"""evaluate: scores a classifier on a split of labelled messages."""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeGuard

from spamgpt.classifier.finding import find_classifier
from spamgpt.device import Device, Precision
from spamgpt.errors import BadDataError, MissingInputError
from spamgpt.reporting import SILENT, Reporter
from spamgpt.workspace import NO_EFFECT, Artifact, Workspace, library_versions

if TYPE_CHECKING:
    import pandas as pd

    from spamgpt.classifier.model import SpamClassifier
    from spamgpt.evaluation.evaluation import Evaluation
    from spamgpt.evaluation.label_errors import LabelCheck
    from spamgpt.evaluation.outcome import Outcome

METRICS_FILE = "metrics.json"
Split = Literal["test", "validation", "train"]


@dataclass(frozen=True)
class EvaluateSettings:
    """What to score, and how much to find out about it.

    `classifier` is what `find_classifier` takes; None takes the newest. `prepared` None takes the
    data that the classifier was trained on, whose test split it has not seen, or the newest for one
    that was trained elsewhere. `split` is train, validation or
    test. `baseline` also trains simple models on the classifier's training split and scores them.
    `explain_mistakes` works out which words drove the wrong answers that the report shows, and
    `check_labels` looks for wrong labels in the training data: both take a while and change nothing
    but the report. The scores are those of `predict` in the same `precision`.
    """

    classifier: str | None = None
    prepared: str | None = None
    split: Split = "test"
    baseline: bool = False
    explain_mistakes: bool = True
    check_labels: bool = True
    precision: Precision = "auto"
    max_batch_tokens: int | None = field(default=None, metadata=NO_EFFECT)
    device: Device = field(default="auto", metadata=NO_EFFECT)


def run(
    settings: EvaluateSettings, workspace: Workspace, reporter: Reporter = SILENT
) -> tuple[Artifact, "Evaluation"]:
    """Writes metrics.json, predictions.csv and report.html; returns the artifact and the scores.

    Raises UsageError, MissingInputError, IntegrityError or BadDataError.
    """
    import pandas as pd

    from spamgpt.classifier.explanation import METHOD
    from spamgpt.data.rows import SOURCE, TEXT
    from spamgpt.evaluation.evaluation import Evaluation
    from spamgpt.evaluation.mistakes import explained, surest_mistakes
    from spamgpt.evaluation.report.lineage import lineage_of
    from spamgpt.evaluation.report.page import REPORT_FILE, render
    from spamgpt.evaluation.report.record import Report
    from spamgpt.version import __version__

    named = settings.classifier
    if named is None:
        named = workspace.newest("classifiers", None, reporter).reference
    chosen = settings.device, settings.precision, settings.max_batch_tokens
    name, artifact, classifier = find_classifier(named, workspace, *chosen)
    prepared = prepared_for(artifact, settings.prepared, workspace, reporter)
    table = read_split(prepared, settings.split)
    texts = list(table[TEXT])
    outcome = answer(classifier, name, prepared, table, reporter)
    evaluation = Evaluation.of(
        outcome,
        texts,
        list(table[SOURCE]) if SOURCE in table else None,
        split=settings.split,
        threshold=classifier.config.threshold,
        temperature=classifier.config.temperature,
        seen_in_training=seen_in_training(artifact, table),
    )
    if settings.baseline:
        own = prepared_for(artifact, None, workspace) if is_from_here(artifact) else prepared
        evaluation = _with_baselines(evaluation, outcome, texts, own, reporter)
    inputs = [artifact] if artifact else []
    mistakes = surest_mistakes(texts, outcome)
    if settings.explain_mistakes:
        mistakes = explained(mistakes, classifier, reporter)
    report = Report(
        classifier=name,
        prepared=prepared.reference,
        evaluation=evaluation,
        outcome=outcome,
        mistakes=mistakes,
        explained_by=METHOD if settings.explain_mistakes else None,
        label_check=_label_check(settings, artifact, workspace),
        history=(
            pd.read_csv(artifact.file("history.csv"))
            if artifact and "history.csv" in artifact.files
            else None
        ),
        kept_epoch=artifact.metadata.get("kept_epoch") if artifact else None,
        lineage=lineage_of([prepared, *inputs], workspace),
        versions={"spamgpt": __version__, **library_versions()},
        substitutions=list(
            dict.fromkeys(text for each in (*inputs, prepared) for text in each.substitutions)
        ),
    )
    with workspace.new("evaluations", settings, inputs=[*inputs, prepared]) as draft:
        (draft.folder / REPORT_FILE).write_text(render(report), encoding="utf-8")
        (draft.folder / METRICS_FILE).write_text(
            json.dumps(evaluation.to_dict(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
        )
        _write_predictions(outcome, table, draft.folder / "predictions.csv")
        draft.metadata.update(
            classifier=name,
            split=settings.split,
            messages=len(table),
            accuracy=evaluation.scores.accuracy,
            seen_in_training=evaluation.seen_in_training,
        )
    return draft.artifact, evaluation


def read_evaluation(artifact: Artifact) -> "Evaluation":
    """What an evaluation found; raises BadDataError if this spamgpt cannot read it."""
    from spamgpt.evaluation.evaluation import Evaluation

    path = artifact.file(METRICS_FILE)
    return Evaluation.from_dict(json.loads(path.read_bytes()), str(path))


def prepared_for(
    artifact: Artifact | None, named: str | None, workspace: Workspace, reporter: Reporter = SILENT
) -> Artifact:
    """The prepared data a user named, or else that which a classifier was trained on.

    For one that was trained elsewhere that is the newest: its own is not here.
    """
    if named is None and is_from_here(artifact):
        return workspace.input_of(artifact, "prepared")
    return workspace.newest("prepared", named, reporter)


def is_from_here(artifact: Artifact | None) -> TypeGuard[Artifact]:
    """Whether a classifier was trained in the workspace: one from elsewhere was imported."""
    return artifact is not None and artifact.manifest["stage"] != "import"


def read_split(prepared: Artifact, split: Split) -> "pd.DataFrame":
    """The messages of a split, with the columns of the prepared data."""
    from spamgpt.data.tables import read_table

    return read_table(prepared.file(f"{split}.csv"))


def answer(
    classifier: "SpamClassifier",
    name: str,
    prepared: Artifact,
    table: "pd.DataFrame",
    reporter: Reporter,
) -> "Outcome":
    """What a classifier answers for a split. Raises BadDataError for a label it does not know."""
    from spamgpt.data.rows import LABEL, TEXT
    from spamgpt.evaluation.outcome import Outcome

    unknown = sorted(set(table[LABEL]) - set(classifier.labels))
    if unknown:
        raise BadDataError(
            f"{prepared.reference} has labels that {name} does not know: {', '.join(unknown)}.",
            f"Evaluate on messages labelled {', '.join(classifier.labels)}.",
        )
    scores = classifier.predictions(list(table[TEXT]), reporter)
    if long := sum(windows > 1 for windows in scores.windows):
        reporter.note(
            f"Messages of more than {classifier.context:,} tokens, read in windows: {long:,}."
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


def seen_in_training(artifact: Artifact | None, table: "pd.DataFrame") -> int | None:
    """How many of the messages a classifier was trained on; None if it keeps no record of that."""
    from spamgpt.data.rows import TEXT
    from spamgpt.data.seen import SEEN_FILE, seen

    if artifact is None or SEEN_FILE not in artifact.files:
        return None
    return int(seen(table[TEXT], artifact.file(SEEN_FILE)).sum())


def _with_baselines(
    evaluation: "Evaluation",
    outcome: "Outcome",
    texts: list[str],
    own: Artifact,
    reporter: Reporter,
) -> "Evaluation":
    from spamgpt.data.rows import LABEL, TEXT
    from spamgpt.evaluation.baselines import score_baselines

    reporter.note(f"Training the baselines on the training split of {own.reference}.")
    train = read_split(own, "train")
    found = score_baselines(outcome, texts, list(train[TEXT]), list(train[LABEL]))
    return replace(evaluation, baselines=found)


def _label_check(
    settings: EvaluateSettings, artifact: Artifact | None, workspace: Workspace
) -> "LabelCheck":
    """The doubtful labels of a classifier's training data, or why they were not looked for."""
    from spamgpt.data.rows import LABEL, TEXT
    from spamgpt.evaluation.label_errors import LabelCheck, check_labels

    if not settings.check_labels:
        return LabelCheck(not_checked="that was turned off")
    if not is_from_here(artifact):
        return LabelCheck(not_checked="the classifier was trained elsewhere")
    try:
        own = workspace.input_of(artifact, "prepared")
    except MissingInputError:
        inputs = [entry["artifact"] for entry in artifact.manifest["inputs"]]
        gone = next((name for name in inputs if name.startswith("prepared/")), "its data")
        return LabelCheck(not_checked=f"the workspace no longer holds {gone} as it was")
    train = read_split(own, "train")
    return check_labels(list(train[TEXT]), list(train[LABEL]))


def _write_predictions(outcome: "Outcome", table: "pd.DataFrame", path: Path) -> None:
    from spamgpt.data.rows import LABEL, TEXT
    from spamgpt.data.tables import write_table

    predictions = table[[LABEL]].assign(predicted=outcome.predicted)
    for index, label in enumerate(outcome.labels):
        predictions[f"probability_{label}"] = outcome.scores[:, index]
    write_table(predictions.assign(text=table[TEXT]), path)
