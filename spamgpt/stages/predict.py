"""predict: classifies messages from files or a stream, in order, as they come."""

import json
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from spamgpt.data.rows import Row
from spamgpt.device import Device, Precision
from spamgpt.errors import UsageError
from spamgpt.workspace import Workspace

if TYPE_CHECKING:
    from spamgpt.classifier.explanation import Span
    from spamgpt.classifier.model import Scores, SpamClassifier

InputFormat = Literal["auto", "lines", "tsv", "csv", "jsonl", "eml", "mbox"]

# The third answer, where one is asked for.
UNSURE = "unsure"

# What the classifier that comes with the package is called.
BUNDLED = "bundled"

# The most messages that are classified together.
MOST_AT_ONCE = 256
# How many different texts are remembered with their scores.
MOST_REMEMBERED = 20_000
# To explain an answer takes as long as dozens; the first should not wait for many.
MOST_EXPLAINED_AT_ONCE = 8
# The most bytes of messages that are read ahead; mails can be large.
MOST_BYTES_AHEAD = 64 * 1024 * 1024

# What an answer calls its own; an input's column of such a name is called `input_` and its name.
_OWN_NAMES = (
    "label",
    "probability",
    "probabilities",
    "text",
    "windows",
    "explanation",
    "explained_by",
)


@dataclass(frozen=True)
class PredictSettings:
    """`classifier` is a reference or BUNDLED; None takes the newest, or BUNDLED if there is none.

    `input_format` is auto (told by each file's name), lines, tsv, csv, jsonl, eml or mbox; what
    tells no format is an mbox if it begins like one, else `untold`. With `whole` each input is one
    message, a mail or a text. `text_column` is the field that holds the message. `threshold`
    replaces the classifier's own; `unsure` gives UNSURE to messages whose probability of spam is
    between the two. `explain` says of each answer which words drove it. With `save` the answers are
    also kept as an artifact.
    """

    classifier: str | None = None
    input_format: InputFormat = "auto"
    text_column: str = "text"
    threshold: float | None = None
    unsure: tuple[float, float] | None = None
    untold: Literal["lines", "eml"] = "lines"
    whole: bool = False
    explain: bool = False
    save: bool = False
    precision: Precision = "auto"
    device: Device = "auto"


@dataclass(frozen=True)
class Prediction:
    """One answer: the row, its text, the label it gets, and the probability of every label.

    `windows` is in how many overlapping pieces a long message was read; 1 for most. `others` are
    the row's fields besides the text, as they are passed on. `explanation`, where asked for, tells
    what each part of the text adds to the answer (of UNSURE: to spam).
    """

    row: Row
    text: str
    label: str
    probabilities: dict[str, float]
    windows: int
    positive_label: str
    others: dict[str, object] = field(default_factory=dict)
    explanation: "list[Span] | None" = None

    @property
    def probability(self) -> float:
        """The probability of the label that was given; of spam, if that is UNSURE."""
        return self.probabilities.get(self.label, self.probabilities[self.positive_label])

    def to_dict(self) -> dict[str, object]:
        return {
            "label": self.label,
            "probability": round(self.probability, 6),
            "probabilities": {name: round(p, 6) for name, p in self.probabilities.items()},
            "text": self.text,
            **({"windows": self.windows} if self.windows > 1 else {}),
            **self._explained(),
            **self.others,
        }

    def _explained(self) -> dict[str, object]:
        if self.explanation is None:
            return {}
        from spamgpt.classifier.explanation import METHOD

        spans = [
            {
                "start": span.start,
                "end": span.end,
                "text": self.text[span.start : span.end],
                "weight": round(span.weight, 4),
            }
            for span in self.explanation
        ]
        return {"explanation": spans, "explained_by": METHOD}


@dataclass(frozen=True)
class Answers:
    """The stream of answers, the labels that can be given, and the context length.

    With two labels, `positive_label` (spam) is given from `threshold` on, or as `unsure` says.
    `classifier` names what answers: a reference, or BUNDLED. `substitutions` are its artifact's.
    """

    classifier: str
    substitutions: list[str]
    labels: list[str]
    context: int
    positive_label: str
    threshold: float
    unsure: tuple[float, float] | None
    batches: Iterator[list[Prediction]]


def run(
    settings: PredictSettings, workspace: Workspace, inputs: Iterable[tuple[str, Iterable[bytes]]]
) -> Answers:
    """Answers every message of `inputs`, pairs of a name and lines (a binary file), in order.

    Each batch holds the messages that had come when the one before was done, so a slow producer
    gets each answer at once and a fast one is batched. Memory does not grow with the input. Raises
    MissingInputError, IntegrityError, UsageError, or BadDataError naming file and line.
    """
    from spamgpt.classifier.model import SpamClassifier

    artifact = None
    if settings.classifier != BUNDLED and (settings.classifier or workspace.folders("classifiers")):
        artifact = workspace.newest("classifiers", settings.classifier)
        classifier = SpamClassifier.from_artifact(
            workspace, artifact, settings.device, settings.precision
        )
    else:
        classifier = SpamClassifier.bundled(settings.device, settings.precision)
    _check_limits(settings, classifier.labels)

    def batches() -> Iterator[list[Prediction]]:
        from spamgpt.data.prefetch import as_they_come

        with ExitStack() as stack:
            saved = None
            recent = _Recent(classifier)
            if settings.save:
                draft = stack.enter_context(
                    workspace.new("predictions", settings, inputs=[artifact] if artifact else [])
                )
                draft.counts["messages"] = 0
                saved = stack.enter_context(
                    (draft.folder / "predictions.jsonl").open("w", encoding="utf-8")
                )
            most = MOST_EXPLAINED_AT_ONCE if settings.explain else MOST_AT_ONCE
            for rows in as_they_come(_rows(settings, inputs), most, _bytes_held, MOST_BYTES_AHEAD):
                answers = _answer(classifier, recent, rows, settings)
                if saved:
                    draft.counts["messages"] += len(answers)
                    for answer in answers:
                        saved.write(json.dumps(answer.to_dict()) + "\n")
                yield answers

    return Answers(
        artifact.reference if artifact else BUNDLED,
        artifact.substitutions if artifact else [],
        [*classifier.labels, *([UNSURE] if settings.unsure else [])],
        classifier.context,
        classifier.config.positive_label,
        classifier.config.threshold if settings.threshold is None else settings.threshold,
        settings.unsure,
        batches(),
    )


def _check_limits(settings: PredictSettings, labels: list[str]) -> None:
    """Raises UsageError for limits that do not fit each other or the labels."""
    for option in ("threshold", "unsure"):
        if getattr(settings, option) is not None and len(labels) > 2:
            raise UsageError(
                f"--{option} is for two labels; this classifier has {', '.join(labels)}.",
                "Leave it out: the most probable label is given.",
            )
    if settings.unsure is None:
        return
    if settings.threshold is not None:
        raise UsageError(
            "--threshold and --unsure exclude each other.", "Spam begins at --unsure's HIGH."
        )
    low, high = settings.unsure
    if not 0 <= low <= high <= 1:
        raise UsageError(
            f"--unsure {low:g} {high:g} is no range of probabilities.",
            "Give the higher one last, both between 0 and 1.",
        )
    if UNSURE in labels:
        raise UsageError(f"The classifier has a label {UNSURE!r} already.", "Leave --unsure out.")


Message = tuple[Row, str, dict[str, object]]  # a row, its text, and the fields it passes on


def _rows(
    settings: PredictSettings, inputs: Iterable[tuple[str, Iterable[bytes]]]
) -> Iterator[Message]:
    from spamgpt.data.mail import MAIL_FORMATS
    from spamgpt.data.rows import LINES, TEXT, bad_row

    for name, stream in inputs:
        format, rows = _read(settings, name, stream)
        column = TEXT if format in (LINES, *MAIL_FORMATS) else settings.text_column
        for row in rows:
            if column not in row.fields:
                raise bad_row(name, row.line, f"has no {column!r}, only {', '.join(row.fields)}")
            others: dict[str, object] = {
                f"input_{key}" if key in _OWN_NAMES else key: value
                for key, value in (row.values or row.fields).items()
                if key != column
            }
            yield row, row.fields[column], others


def _read(
    settings: PredictSettings, name: str, lines: Iterable[bytes]
) -> tuple[str, Iterator[Row]]:
    """The format of an input and its rows."""
    from spamgpt.data.files import format_of
    from spamgpt.data.mail import (
        EML,
        MAIL_FORMATS,
        MBOX,
        begins_an_mbox,
        looks_like_mail,
        read_mails,
    )
    from spamgpt.data.rows import LINES, TEXT, read_rows

    format: str = settings.input_format
    if format == "auto":
        format = format_of(Path(name))
        if settings.whole:
            data = b"".join(lines)
            lines = [data]
            format = EML if format == EML or looks_like_mail(data) else LINES
        elif format == LINES:
            lines = iter(lines)
            first = list(islice(lines, 1))
            lines = chain(first, lines)
            format = MBOX if first and begins_an_mbox(first[0]) else settings.untold
    if format in MAIL_FORMATS:
        return format, read_mails(lines, format, name)
    # A message that is not UTF-8 gets an answer, too.
    if settings.whole:
        data = b"".join(lines)
        text = data.decode("utf-8", "replace").removeprefix("\ufeff").strip("\r\n")
        return format, iter([Row(1, data, {TEXT: text}, end=b"")])
    column = TEXT if format == LINES else settings.text_column
    return format, read_rows(lines, format, name, column, undecodable="replace")


def _bytes_held(message: Message) -> int:
    return len(message[0].raw) + len(message[1])


class _Recent:
    """The scores of the texts that came last: spam comes in floods, and is scored once."""

    def __init__(self, classifier: "SpamClassifier") -> None:
        self._classifier = classifier
        self._scores: dict[bytes, tuple[list[float], int]] = {}

    def score(self, texts: list[str]) -> "Scores":
        """What `SpamClassifier.score` gives."""
        import numpy as np

        from spamgpt.classifier.model import Scores

        keys = [
            blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
            for text in texts
        ]
        new = {key: text for key, text in zip(keys, texts, strict=True) if key not in self._scores}
        found = self._classifier.score(list(new.values()))
        self._scores.update(
            zip(new, zip(found.probabilities.tolist(), found.windows, strict=True), strict=True)
        )
        scores = [self._scores[key] for key in keys]
        for key in list(islice(self._scores, max(0, len(self._scores) - MOST_REMEMBERED))):
            del self._scores[key]
        return Scores(
            np.array([probabilities for probabilities, _ in scores]),
            [windows for _, windows in scores],
        )


def _answer(
    classifier: "SpamClassifier", recent: _Recent, rows: list[Message], settings: PredictSettings
) -> list[Prediction]:
    scores = recent.score([text for _, text, _ in rows])
    positive = classifier.config.positive_label
    if settings.unsure is None:
        labels = classifier.config.decide(scores.probabilities, settings.threshold)
    else:
        # As bogofilter has it: at HIGH it is spam, at LOW it is not.
        low, high = settings.unsure
        of_spam = scores.probabilities[:, classifier.labels.index(positive)]
        decided = classifier.config.decide(scores.probabilities, high)
        labels = [
            UNSURE if low < probability < high else label
            for probability, label in zip(of_spam, decided, strict=True)
        ]
    return [
        Prediction(
            row,
            text,
            label,
            dict(zip(classifier.labels, map(float, probabilities), strict=True)),
            windows,
            positive,
            others,
            _explanation(classifier, text, label) if settings.explain else None,
        )
        for (row, text, others), label, probabilities, windows in zip(
            rows, labels, scores.probabilities, scores.windows, strict=True
        )
    ]


def _explanation(classifier: "SpamClassifier", text: str, label: str) -> "list[Span]":
    from spamgpt.classifier.explanation import explain

    return explain(
        classifier, text, label if label in classifier.labels else classifier.config.positive_label
    )
