"""What a report is made of: the evaluation and what belongs to it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from spamgpt.evaluation.evaluation import Evaluation
from spamgpt.evaluation.label_errors import LabelCheck
from spamgpt.evaluation.metrics import Scores
from spamgpt.evaluation.mistakes import Mistake
from spamgpt.evaluation.outcome import Outcome
from spamgpt.evaluation.report.lineage import LineageStep

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Report:
    """What a report is made of.

    `classifier` and `prepared` are references; `outcome` is what the evaluation scored. `mistakes`
    are the surest ones; `explained_by` says in a few words how their highlights were found, None
    that they were not looked for. `history` has the columns of `EpochRecord`. `lineage` goes from
    the first artifact to the last.
    """

    classifier: str
    prepared: str
    evaluation: Evaluation
    outcome: Outcome
    mistakes: Sequence[Mistake] = ()
    explained_by: str | None = None
    label_check: LabelCheck = field(default_factory=LabelCheck)
    history: "pd.DataFrame | None" = None
    kept_epoch: int | None = None
    lineage: Sequence[LineageStep] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    substitutions: Sequence[str] = ()

    @property
    def scores(self) -> Scores:
        """The scores of the classifier."""
        return self.evaluation.scores

    @property
    def labels(self) -> list[str]:
        """The labels of the classifier, in its order."""
        return list(self.scores.labels)

    @property
    def positive_label(self) -> str:
        """The label that precision and recall are about."""
        return self.scores.positive_label

    @property
    def other_label(self) -> str:
        """What is not positive: the other label, or `other messages` where there are several."""
        others = [label for label in self.labels if label != self.positive_label]
        return others[0] if len(others) == 1 else "other messages"
