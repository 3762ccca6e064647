"""predict: classifies messages from files or a stream, in order, as they come."""

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from spamgpt.classifier.finding import find_quick_classifier
from spamgpt.classifier.predictor import Prediction
from spamgpt.classifier.records import record_of, renamed
from spamgpt.data.encodings import check_encoding
from spamgpt.data.json_values import json_text
from spamgpt.data.records import Oversized, left_out
from spamgpt.data.rows import Row
from spamgpt.device import Device, Precision
from spamgpt.errors import SpamgptError, as_user_error
from spamgpt.reporting import SILENT, Reporter
from spamgpt.workspace import NO_EFFECT, Artifact, Workspace

if TYPE_CHECKING:
    from spamgpt.classifier.predictor import Predictor
    from spamgpt.data.inputs import Message

# What a record that cannot be read does: it is answered with its error, skipped, or ends it all.
OnError = Literal["answer", "skip", "fail"]
InputFormat = Literal["auto", "lines", "tsv", "csv", "jsonl", "eml", "mbox"]

# The most messages that are classified together.
MOST_AT_ONCE = 256
# To explain an answer takes as long as dozens; the first should not wait for many.
MOST_EXPLAINED_AT_ONCE = 8
# The most bytes of messages that are read ahead; mails can be large.
MOST_BYTES_AHEAD = 64 * 1024 * 1024
# The most bytes of one message that are held and judged.
MAX_MESSAGE_SIZE = 4 * 1024 * 1024
# So many errors are told in full; a stream may have millions.
MOST_ERRORS_TOLD = 10


@dataclass(frozen=True)
class PredictSettings:
    """`classifier` is what `find_classifier` takes; None is the newest, or else the bundled one.

    `input_format` is auto (told by each file's name), lines, tsv, csv, jsonl, eml or mbox; what
    tells no format is an mbox if it begins like one, else `untold`. With `whole` each input is one
    message, a mail or a text. `text_column` is the field that holds the message, `encoding` that of
    the text (None: UTF-8, or what a byte order mark says). `on_error` is what a record or an input
    that cannot be read does: it is answered with its error, skipped, or ends it all. A message of
    more than `max_message_size` bytes is judged by its beginning and its end, or is an error
    (`oversized`); with `pass_on` all of it is kept to be written again. `threshold`, `unsure` and
    `explain` are those of `Predictor`. With `save` the answers are also kept as an artifact.
    `max_batch_tokens` None is what suits the device.
    """

    classifier: str | None = None
    input_format: InputFormat = "auto"
    text_column: str = "text"
    encoding: str | None = None
    on_error: OnError = "answer"
    max_message_size: int = MAX_MESSAGE_SIZE
    oversized: Oversized = "cut"
    pass_on: bool = field(default=False, metadata=NO_EFFECT)
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
        return record_of(self.prediction, self.others, left_out(self.row.raw))


@dataclass(frozen=True)
class Refusal:
    """The row of a record that cannot be read, in place of an answer: its error and its text."""

    row: Row
    error: SpamgptError
    text: str

    def to_dict(self) -> dict[str, object]:
        """What JSONL holds of it."""
        return {"label": None, "error": self.error.message, "text": self.text}


def answer_line(answer: Answer | Refusal) -> str:
    """An answer as a line of JSONL, without its line end."""
    return json_text(answer.to_dict(), ensure_ascii=False)


@dataclass
class Answers:
    """The stream of answers and what gives them.

    `classifier` names what answers: a reference, BUNDLED or a path. `substitutions` are its
    artifact's. `saved` is the artifact of the answers, once the stream has ended. `errors` is how
    many records, or whole inputs, could not be read so far.
    """

    classifier: str
    substitutions: list[str]
    predictor: "Predictor"
    batches: Generator[list[Answer | Refusal]]
    saved: Artifact | None = None
    errors: int = 0


def run(
    settings: PredictSettings,
    workspace: Workspace,
    inputs: Iterable[tuple[str, Iterable[bytes]]],
    reporter: Reporter = SILENT,
) -> Answers:
    """Answers every message of `inputs`, pairs of a name and lines (a binary file), in order.

    Each batch holds the messages that had come when the one before was done, so a slow producer
    gets each answer at once and a fast one is batched. Memory does not grow with the input, nor
    with a message. Answers that are saved are kept also if Ctrl-C or `batches.close()` ends the
    stream, but not if an error does. The first errors of records are warned of. Raises
    MissingInputError, IntegrityError, UsageError, or, where errors end it all, BadDataError naming
    file and line.
    """
    from spamgpt.classifier.predictor import Predictor

    if settings.encoding is not None:
        check_encoding(settings.encoding)
    chosen = settings.device, settings.precision, settings.max_batch_tokens
    name, artifact, classifier = find_quick_classifier(settings.classifier, workspace, *chosen)
    predictor = Predictor(classifier, settings.threshold, settings.unsure, settings.explain)

    def saved() -> Generator[list[Answer | Refusal]]:
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
                        file.writelines(f"{json_text(answer.to_dict())}\n" for answer in answers)
                        draft.metadata["messages"] += len(answers)
                        if found.errors:
                            draft.metadata["errors"] = found.errors
                        yield answers
                except (KeyboardInterrupt, GeneratorExit) as end:
                    if not draft.metadata["messages"]:
                        raise  # there is nothing to keep
                    draft.metadata["stopped"] = True
                    stopped = end
        found.saved = draft.artifact
        if stopped:
            raise stopped

    def told() -> Generator[list[Answer | Refusal]]:
        with closing(_answers(settings, inputs, predictor)) as batches:
            for batch in batches:
                for answer in batch:
                    if isinstance(answer, Refusal):
                        found.errors += 1
                        if found.errors <= MOST_ERRORS_TOLD:
                            reporter.warn(answer.error.message)
                        if found.errors == 1:
                            reporter.note(f" hint: {answer.error.hint}")
                if settings.on_error == "skip":
                    batch = [answer for answer in batch if isinstance(answer, Answer)]
                yield batch

    batches = told()
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
) -> Generator[list[Answer | Refusal]]:
    from spamgpt.data.prefetch import prefetch

    most = MOST_EXPLAINED_AT_ONCE if settings.explain else MOST_AT_ONCE
    messages = messages_of(settings, inputs)
    for batch in prefetch(messages, most, lambda message: message.size, MOST_BYTES_AHEAD):
        yield answers_to(batch, predictor)


def answers_to(messages: "Sequence[Message]", predictor: "Predictor") -> list[Answer | Refusal]:
    """The answer to each message, in order, or what is wrong with it."""
    readable = [message.text for message in messages if not message.row.error]
    predictions = iter(predictor.predict(readable))
    return [
        Refusal(message.row, error, message.text)
        if (error := message.row.error)
        else Answer(message.row, next(predictions), renamed(message.others))
        for message in messages
    ]


def messages_of(
    settings: PredictSettings, inputs: Iterable[tuple[str, Iterable[bytes]]]
) -> "Iterator[Message]":
    """The messages of all inputs; one that cannot be read further ends with a row of its error."""
    from spamgpt.data.inputs import Limits, Message, read_messages

    fail = settings.on_error == "fail"
    limits = Limits(settings.max_message_size, settings.oversized, settings.pass_on, strict=fail)
    for name, lines in inputs:
        try:
            yield from read_messages(
                name,
                lines,
                settings.input_format,
                settings.text_column,
                settings.untold,
                settings.whole,
                encoding=settings.encoding,
                limits=limits,
            )
        except (SpamgptError, OSError) as error:
            if fail:
                raise
            yield Message(Row(0, b"", {}, end=b"", error=as_user_error(error)), "", {})
