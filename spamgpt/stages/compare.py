"""compare: several classifiers on the same messages, and whether chance explains who is ahead."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING, Any

from spamgpt.device import Device, Precision
from spamgpt.errors import UsageError
from spamgpt.reporting import SILENT, Reporter
from spamgpt.stages.evaluate import Split, answer, prepared_for, read_split, seen_in_training
from spamgpt.workspace import NO_EFFECT, Workspace

if TYPE_CHECKING:
    from spamgpt.evaluation.intervals import Intervals, McNemar
    from spamgpt.evaluation.metrics import Scores


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
class ScoredClassifier:
    """The scores of one classifier, as `evaluate` has them."""

    classifier: str
    seen_in_training: int | None
    scores: "Scores"
    intervals: "Intervals"


@dataclass(frozen=True)
class Pair:
    """McNemar's test of two classifiers."""

    first: str
    second: str
    mcnemar: "McNemar"


@dataclass(frozen=True)
class Comparison:
    """The scores of each classifier on the same messages, and the test of each pair."""

    prepared: str
    split: Split
    messages: int
    classifiers: Sequence[ScoredClassifier]
    pairs: Sequence[Pair]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        from spamgpt.evaluation.evaluation import scores_to_dict
        from spamgpt.evaluation.records import to_plain

        return {
            "prepared": self.prepared,
            "split": self.split,
            "messages": self.messages,
            "classifiers": [
                {
                    "classifier": each.classifier,
                    "seen_in_training": each.seen_in_training,
                    **scores_to_dict(each.scores, each.intervals),
                }
                for each in self.classifiers
            ],
            "pairs": [
                {"first": pair.first, "second": pair.second, **to_plain(pair.mcnemar)}
                for pair in self.pairs
            ],
        }


def run(settings: CompareSettings, workspace: Workspace, reporter: Reporter = SILENT) -> Comparison:
    """Scores the classifiers on the same split; writes nothing.

    Raises UsageError, MissingInputError, IntegrityError or BadDataError.
    """
    from spamgpt.classifier.model import SpamClassifier
    from spamgpt.evaluation.intervals import intervals, mcnemar, resample
    from spamgpt.evaluation.metrics import compute_metrics

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
        outcome = answer(classifier, artifact.reference, prepared, table, reporter)
        scores = compute_metrics(outcome)
        outcomes[artifact.reference] = outcome
        scored.append(
            ScoredClassifier(
                artifact.reference,
                seen_in_training(artifact, table),
                scores,
                intervals(scores, resample(outcome)),
            )
        )
    pairs = [
        Pair(first, second, mcnemar(outcomes[first].correct, outcomes[second].correct))
        for first, second in combinations(outcomes, 2)
    ]
    return Comparison(prepared.reference, settings.split, len(table), scored, pairs)
