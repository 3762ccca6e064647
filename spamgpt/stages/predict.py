"""predict: classifies messages from files or a stream, in order, as they come."""

import json
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Literal

from spamgpt.data.rows import Row
from spamgpt.device import Device, Precision
from spamgpt.errors import UsageError
from spamgpt.workspace import Workspace

if TYPE_CHECKING:
    from spamgpt.classifier import SpamClassifier

InputFormat = Literal["auto", "lines", "tsv", "csv", "jsonl"]

# What the classifier that comes with the package is called.
BUNDLED = "bundled"

# The most messages that are classified together.
MOST_AT_ONCE = 256


@dataclass(frozen=True)
class PredictSettings:
    """`classifier` is a reference or BUNDLED; None takes the newest, or BUNDLED if there is none.

    `input_format` is auto (told by each file's name), lines, tsv, csv or jsonl; `text_column` is
    the field that holds the message. `threshold` replaces the classifier's own. With `save` the
    answers are also kept as an artifact.
    """

    classifier: str | None = None
    input_format: InputFormat = "auto"
    text_column: str = "text"
    threshold: float | None = None
    save: bool = False
    precision: Precision = "auto"
    device: Device = "auto"


@dataclass(frozen=True)
class Prediction:
    """One answer: the row, its text, the label it gets, and the probability of every label."""

    row: Row
    text: str
    label: str
    probabilities: dict[str, float]
    truncated: bool

    @property
    def probability(self) -> float:
        """The probability of the label that was given."""
        return self.probabilities[self.label]

    def to_dict(self) -> dict[str, object]:
        return {
            "label": self.label,
            "probability": round(self.probability, 6),
            "probabilities": {name: round(p, 6) for name, p in self.probabilities.items()},
            "text": self.text,
            **({"truncated": True} if self.truncated else {}),
        }


@dataclass(frozen=True)
class Answers:
    """The stream of answers, the labels that can be given, and the context length.

    `classifier` names what answers: a reference, or BUNDLED. `substitutions` are its artifact's.
    """

    classifier: str
    substitutions: list[str]
    labels: list[str]
    context: int
    batches: Iterator[list[Prediction]]


def run(
    settings: PredictSettings, workspace: Workspace, inputs: Iterable[tuple[str, BinaryIO]]
) -> Answers:
    """Answers every message of `inputs`, pairs of a name and an open binary file, in order.

    Each batch holds the messages that had come when the one before was done, so a slow producer
    gets each answer at once and a fast one is batched. Memory does not grow with the input. Raises
    MissingInputError, IntegrityError, UsageError, or BadDataError naming file and line.
    """
    from spamgpt.classifier import SpamClassifier

    artifact = None
    if settings.classifier != BUNDLED and (settings.classifier or workspace.folders("classifiers")):
        artifact = workspace.newest("classifiers", settings.classifier)
        classifier = SpamClassifier.from_artifact(
            workspace, artifact, settings.device, settings.precision
        )
    else:
        classifier = SpamClassifier.bundled(settings.device, settings.precision)
    if settings.threshold is not None and len(classifier.labels) > 2:
        raise UsageError(
            f"--threshold is for two labels; this classifier has {', '.join(classifier.labels)}.",
            "Leave it out: the most probable label is given.",
        )

    def batches() -> Iterator[list[Prediction]]:
        from spamgpt.data.streams import as_they_come

        with ExitStack() as stack:
            saved = None
            if settings.save:
                draft = stack.enter_context(
                    workspace.new("predictions", settings, inputs=[artifact] if artifact else [])
                )
                draft.counts["messages"] = 0
                saved = stack.enter_context(
                    (draft.folder / "predictions.jsonl").open("w", encoding="utf-8")
                )
            for rows in as_they_come(_rows(settings, inputs), MOST_AT_ONCE):
                answers = _answer(classifier, rows, settings)
                if saved:
                    draft.counts["messages"] += len(answers)
                    for answer in answers:
                        saved.write(json.dumps(answer.to_dict()) + "\n")
                yield answers

    return Answers(
        artifact.reference if artifact else BUNDLED,
        artifact.substitutions if artifact else [],
        classifier.labels,
        classifier.context,
        batches(),
    )


def _rows(
    settings: PredictSettings, inputs: Iterable[tuple[str, BinaryIO]]
) -> Iterator[tuple[Row, str]]:
    """Each row with its text."""
    from spamgpt.data.rows import TEXT, bad_row, format_of, read_rows

    for name, stream in inputs:
        chosen = settings.input_format
        format = format_of(name) if chosen == "auto" else chosen
        column = TEXT if format == "lines" else settings.text_column
        # A message that is not UTF-8 gets an answer, too.
        for row in read_rows(stream, format, name, column, undecodable="replace"):
            if column not in row.fields:
                raise bad_row(name, row.line, f"has no {column!r}, only {', '.join(row.fields)}")
            yield row, row.fields[column]


def _answer(
    classifier: "SpamClassifier", rows: list[tuple[Row, str]], settings: PredictSettings
) -> list[Prediction]:
    scores = classifier.score([text for _, text in rows])
    labels = classifier.config.decide(scores.probabilities, settings.threshold)
    return [
        Prediction(
            row,
            text,
            label,
            dict(zip(classifier.labels, map(float, probabilities), strict=True)),
            truncated,
        )
        for (row, text), label, probabilities, truncated in zip(
            rows, labels, scores.probabilities, scores.truncated, strict=True
        )
    ]
