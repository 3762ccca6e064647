"""compare: several classifiers on the same messages, and whether chance explains who is ahead."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from spamgpt.device import Device, Precision
from spamgpt.errors import UsageError
from spamgpt.reporting import SILENT, Reporter
from spamgpt.stages.evaluate import Split, answer, prepared_for, read_split, seen_in_training
from spamgpt.workspace import NO_EFFECT, Workspace


@dataclass(frozen=True)
class CompareSettings:
    """`classifiers` are two or more references.

    `prepared` None takes the data that the first of them was trained on.
    """

    classifiers: Sequence[str]
    prepared: str | None = None
    split: Split = "test"
    precision: Precision = "auto"
    max_batch_tokens: int | None = field(default=None, metadata=NO_EFFECT)
    device: Device = field(default="auto", metadata=NO_EFFECT)


@dataclass(frozen=True)
class Comparison:
    """The scores of each classifier, as `evaluate` has them, and McNemar's test of each pair."""

    prepared: str
    split: Split
    messages: int
    classifiers: list[dict[str, Any]]
    pairs: list[dict[str, Any]]


def run(settings: CompareSettings, workspace: Workspace, reporter: Reporter = SILENT) -> Comparison:
    """Scores the classifiers on the same split; writes nothing.

    Raises UsageError, MissingInputError, IntegrityError or BadDataError.
    """
    from spamgpt.classifier.model import SpamClassifier
    from spamgpt.evaluation.intervals import intervals, mcnemar, resample
    from spamgpt.evaluation.metrics import measure

    found = [workspace.newest("classifiers", named) for named in settings.classifiers]
    artifacts = list({artifact.reference: artifact for artifact in found}.values())
    if len(artifacts) < 2:
        raise UsageError(
            "There is nothing to compare: name two different classifiers.",
            "For example: spamgpt compare v1 v2",
        )
    prepared = prepared_for(artifacts[0], settings.prepared, workspace)
    table = read_split(prepared, settings.split)
    outcomes, scored = {}, []
    for artifact in artifacts:
        classifier = SpamClassifier.from_artifact(
            workspace, artifact, settings.device, settings.precision, settings.max_batch_tokens
        )
        outcome = answer(classifier, artifact, prepared, table, reporter)
        measured = measure(outcome)
        outcomes[artifact.reference] = outcome
        scored.append(
            {
                "classifier": artifact.reference,
                "seen_in_training": seen_in_training(artifact, table),
                **measured,
                "intervals": intervals(measured, resample(outcome)),
            }
        )
    pairs = [
        {
            "first": first,
            "second": second,
            **mcnemar(outcomes[first].correct, outcomes[second].correct),
        }
        for first, second in combinations(outcomes, 2)
    ]
    return Comparison(prepared.reference, settings.split, len(table), scored, pairs)
