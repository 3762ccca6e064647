"""evaluate: scores a classifier on a split of labelled messages."""

import json
from dataclasses import dataclass
from typing import Any, Literal

from spamgpt.device import Device, Precision
from spamgpt.errors import BadDataError
from spamgpt.reporting import SILENT, Reporter
from spamgpt.workspace import Artifact, Workspace

Split = Literal["test", "validation", "train"]


@dataclass(frozen=True)
class EvaluateSettings:
    """`classifier` is a reference; None takes the newest.

    `prepared` None takes the data that the classifier was trained on, whose test split it has not
    seen. `split` is train, validation or test. The scores are those of `predict` in the same
    `precision`.
    """

    classifier: str | None = None
    prepared: str | None = None
    split: Split = "test"
    precision: Precision = "auto"
    device: Device = "auto"


def run(
    settings: EvaluateSettings, workspace: Workspace, reporter: Reporter = SILENT
) -> tuple[Artifact, dict[str, Any]]:
    """Writes `metrics.json` and `predictions.csv`; returns the artifact and the metrics.

    Raises UsageError, MissingInputError, IntegrityError or BadDataError.
    """
    from spamgpt.classifier import SpamClassifier
    from spamgpt.data.batches import tokenize
    from spamgpt.data.rows import LABEL, TEXT
    from spamgpt.data.tables import read_table, write_table
    from spamgpt.evaluation.metrics import measure
    from spamgpt.inference import classify

    artifact = workspace.newest("classifiers", settings.classifier)
    if settings.prepared is None:
        prepared = workspace.input_of(artifact, "prepared")
    else:
        prepared = workspace.newest("prepared", settings.prepared)
    table = read_table(prepared.file(f"{settings.split}.csv"))
    classifier = SpamClassifier.from_artifact(
        workspace, artifact, settings.device, settings.precision
    )
    unknown = sorted(set(table[LABEL]) - set(classifier.labels))
    if unknown:
        raise BadDataError(
            f"{prepared.reference} has labels that {artifact.reference} does not know: "
            f"{', '.join(unknown)}.",
            f"Evaluate on messages labelled {', '.join(classifier.labels)}.",
        )
    _warn_of_leaks(artifact, prepared, set(table[TEXT]), settings, workspace, reporter)
    texts, truth = list(table[TEXT]), list(table[LABEL])
    messages = tokenize(texts, classifier.tokenizer, classifier.context)
    if any(messages.truncated):
        reporter.warn(
            f"{sum(messages.truncated)} messages are longer than the model's "
            f"{classifier.context} tokens; of each the first {classifier.context} are read."
        )
    with reporter.task(f"Scoring the {settings.split} split", len(messages), "messages") as task:
        logits = classify(classifier.model, messages, classifier.device, task.advance)
    probabilities = logits.double().softmax(dim=1).numpy()
    predicted = classifier.config.decide(probabilities)
    metrics = {"split": settings.split} | measure(
        truth, predicted, probabilities, classifier.labels, classifier.config.positive_label
    )
    with workspace.new("evaluations", settings, inputs=[artifact, prepared]) as draft:
        (draft.folder / "metrics.json").write_text(
            json.dumps(metrics, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
        )
        predictions = table[[LABEL]].assign(predicted=predicted)
        for index, label in enumerate(classifier.labels):
            predictions[f"probability_{label}"] = probabilities[:, index]
        write_table(predictions.assign(text=texts), draft.folder / "predictions.csv")
        draft.counts.update(split=settings.split, messages=len(texts), accuracy=metrics["accuracy"])
    return draft.artifact, metrics


def _warn_of_leaks(
    artifact: Artifact,
    prepared: Artifact,
    texts: set[str],
    settings: EvaluateSettings,
    workspace: Workspace,
    reporter: Reporter,
) -> None:
    """Says how many of the texts of other data than its own a classifier was trained on."""
    from spamgpt.data.rows import TEXT
    from spamgpt.data.tables import read_table

    if settings.prepared is None:
        return
    own = workspace.input_of(artifact, "prepared")
    if own.digest == prepared.digest:
        return
    seen = len(texts & set(read_table(own.file("train.csv"))[TEXT]))
    if seen:
        reporter.warn(
            f"{artifact.reference} was trained on {seen:,} of these messages: "
            "the scores flatter it."
        )
