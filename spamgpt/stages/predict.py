"""predict: classifies messages from files or a stream, in order, as they come."""

import json
from collections.abc import Generator, Iterable
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from spamgpt.classifier.predictor import Prediction
from spamgpt.classifier.records import record_of, renamed
from spamgpt.data.rows import Row
from spamgpt.device import Device, Precision
from spamgpt.stages.classifiers import find_classifier
from spamgpt.workspace import NO_EFFECT, Artifact, Workspace

if TYPE_CHECKING:
    from spamgpt.classifier.predictor import Predictor

InputFormat = Literal["auto", "lines", "tsv", "csv", "jsonl", "eml", "mbox"]

# The most messages that are classified together.
MOST_AT_ONCE = 256
# To explain an answer takes as long as dozens; the first should not wait for many.
MOST_EXPLAINED_AT_ONCE = 8
# The most bytes of messages that are read ahead; mails can be large.
MOST_BYTES_AHEAD = 64 * 1024 * 1024


@dataclass(frozen=True)
class PredictSettings:
    """`classifier` is what `find_classifier` takes; None is the newest, or else the bundled one.

    `input_format` is auto (told by each file's name), lines, tsv, csv, jsonl, eml or mbox; what
    tells no format is an mbox if it begins like one, else `untold`. With `whole` each input is one
    message, a mail or a text. `text_column` is the field that holds the message. `threshold`,
    `unsure` and `explain` are those of `Predictor`. With `save` the answers are also kept as an
    artifact. `max_batch_tokens` None is what suits the device.
    """

    classifier: str | None = None
    input_format: InputFormat = "auto"
    text_column: str = "text"
    threshold: float | None = None
    unsure: tuple[float, float] | None = None
    untold: Literal["lines", "eml"] = "lines"
    whole: bool = False
    explain: bool = False
    save: bool = field(default=False, metadata=NO_EFFECT)
    precision: Precision = "auto"
    max_batch_tokens: int | None = field(default=None, metadata=NO_EFFECT)
    device: Device = field(default="auto", metadata=NO_EFFECT)


@dataclass(frozen=True)
class Answer:
    """The row of a message, what the classifier says of it, and the row's fields besides the text.

    `others` are these fields as they are passed on.
    """

    row: Row
    prediction: Prediction
    others: dict[str, object] = field(default_factory=dict)

    def to_dict(self) -> dict[str, object]:
        """What JSONL holds of an answer."""
        return record_of(self.prediction, self.others)


@dataclass
class Answers:
    """The stream of answers and what gives them.

    `classifier` names what answers: a reference, BUNDLED or a path. `substitutions` are its
    artifact's.
    `saved` is the artifact of the answers, once the stream has ended.
    """

    classifier: str
    substitutions: list[str]
    predictor: "Predictor"
    batches: Generator[list[Answer]]
    saved: Artifact | None = None


def run(
    settings: PredictSettings, workspace: Workspace, inputs: Iterable[tuple[str, Iterable[bytes]]]
) -> Answers:
    """Answers every message of `inputs`, pairs of a name and lines (a binary file), in order.

    Each batch holds the messages that had come when the one before was done, so a slow producer
    gets each answer at once and a fast one is batched. Memory does not grow with the input. Answers
    that are saved are kept also if Ctrl-C or `batches.close()` ends the stream, but not if an error
    does. Raises MissingInputError, IntegrityError, UsageError, or BadDataError naming file and
    line.
    """
    from spamgpt.classifier.predictor import Predictor

    chosen = settings.device, settings.precision, settings.max_batch_tokens
    name, artifact, classifier = find_classifier(settings.classifier, workspace, *chosen)
    predictor = Predictor(classifier, settings.threshold, settings.unsure, settings.explain)

    def saved() -> Generator[list[Answer]]:
        stopped: BaseException | None = None
        sources = [artifact] if artifact else []
        with (
            workspace.new("predictions", settings, inputs=sources) as draft,
            closing(batches),
        ):
            draft.metadata["messages"] = 0
            with (draft.folder / "predictions.jsonl").open("w", encoding="utf-8") as file:
                try:
                    for answers in batches:
                        lines = [json.dumps(answer.to_dict()) + "\n" for answer in answers]
                        file.write("".join(lines))
                        draft.metadata["messages"] += len(answers)
                        yield answers
                except (KeyboardInterrupt, GeneratorExit) as end:
                    if not draft.metadata["messages"]:
                        raise  # there is nothing to keep
                    draft.metadata["stopped"] = True
                    stopped = end
        found.saved = draft.artifact
        if stopped:
            raise stopped

    batches = _answers(settings, inputs, predictor)
    found = Answers(
        name,
        artifact.substitutions if artifact else [],
        predictor,
        saved() if settings.save else batches,
    )
    return found


def _answers(
    settings: PredictSettings,
    inputs: Iterable[tuple[str, Iterable[bytes]]],
    predictor: "Predictor",
) -> Generator[list[Answer]]:
    from spamgpt.data.inputs import read_messages
    from spamgpt.data.prefetch import prefetch

    options = settings.input_format, settings.text_column, settings.untold, settings.whole
    messages = (
        message for name, lines in inputs for message in read_messages(name, lines, *options)
    )
    most = MOST_EXPLAINED_AT_ONCE if settings.explain else MOST_AT_ONCE
    for batch in prefetch(messages, most, lambda message: message.size, MOST_BYTES_AHEAD):
        predictions = predictor.predict([message.text for message in batch])
        yield [
            Answer(message.row, prediction, renamed(message.others))
            for message, prediction in zip(batch, predictions, strict=True)
        ]
