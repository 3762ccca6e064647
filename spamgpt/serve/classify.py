"""What `POST /v1/classify` makes of each kind of body: JSON, a text, a mail, a stream of lines."""

import asyncio
import json
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from email.message import Message
from typing import TypeVar

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from spamgpt.classifier.predictor import Prediction
from spamgpt.classifier.records import record_of, renamed
from spamgpt.data.json_values import json_text
from spamgpt.data.mail import fields_of
from spamgpt.data.rows import TEXT
from spamgpt.serve.bodies import parse_object, read_body, read_lines
from spamgpt.serve.limits import Refused, Seat, stopping, unusable
from spamgpt.serve.service import Service, Serving

JSON, PLAIN, MAIL, LINES = (
    "application/json",
    "text/plain",
    "message/rfc822",
    "application/x-ndjson",
)
# The header of a response that names what answered; of a stream, what began to: it has no end, and
# a newer classifier answers what comes after that was taken up.
CLASSIFIER = "spamgpt-classifier"
# So many lines of a stream are classified at once.
_AHEAD = 64
# To look through a larger mail would keep other clients waiting.
_SMALL_MAIL = 32 * 1024
# A stream waits while the queue is full, and looks again so many seconds later.
_AGAIN = 0.02
T = TypeVar("T")


async def classify(request: Request, service: Service, seat: Seat) -> Response:
    """The answers to a request, in the form that its content type stands for."""
    kind, _, parameters = request.headers.get("content-type", "").partition(";")
    kind = kind.strip().lower()
    if kind == LINES:
        serving = service.serving
        return _Stream(
            _answer_lines(request, service, seat),
            media_type=LINES,
            headers={CLASSIFIER: serving.name},
        )
    if kind not in (JSON, PLAIN, MAIL):
        raise Refused(
            415, "unsupported", f"The content type may be {JSON}, {PLAIN}, {MAIL} or {LINES}."
        )
    explain = _explain(request)
    body = await read_body(request, service.limits, seat)
    serving = service.serving
    if kind == JSON:
        texts, wanted = _texts_of(parse_object(body))
        found = await service.classify(texts, explain or wanted, serving)
        answer: dict[str, object] = {"answers": [record_of(prediction) for prediction in found]}
    else:
        fields = await mail_fields(body) if kind == MAIL else {TEXT: _decoded(body, parameters)}
        (prediction,) = await service.classify([fields.pop(TEXT)], explain, serving)
        answer = record_of(prediction, renamed(fields))
    return Response(json.dumps(answer), media_type=JSON, headers={CLASSIFIER: serving.name})


def _explain(request: Request) -> bool:
    # Most requests have no query, and parsing none takes a while, too.
    asked = request.scope["query_string"] and request.query_params.get("explain")
    return asked in ("1", "true")


async def mail_fields(mail: bytes) -> dict[str, str]:
    """As `fields_of`, beside the requests of others."""
    return await aside(fields_of, mail)


async def aside(work: Callable[..., T], mail: bytes, *others: object) -> T:
    """What a function returns that looks through a mail: of a large one in another thread."""
    if len(mail) <= _SMALL_MAIL:
        return work(mail, *others)
    return await asyncio.to_thread(work, mail, *others)


def _texts_of(body: dict[str, object]) -> tuple[list[str], bool]:
    texts, explain = body.get("texts"), body.get("explain", False)
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise unusable('`texts` is missing or not a list of strings: {"texts": ["see you at 7"]}.')
    if not isinstance(explain, bool):
        raise unusable("`explain` is not true or false.")
    return texts, explain


def _decoded(body: bytes, parameters: str) -> str:
    content_type = Message()
    content_type["content-type"] = f"text/plain; {parameters}"
    if content_type.get_content_charset("utf-8") not in ("utf-8", "utf8", "us-ascii"):
        raise Refused(415, "unsupported", "A text is read as UTF-8.")
    return body.decode("utf-8", "replace").removeprefix("\ufeff").strip("\r\n")


class _Stream(StreamingResponse):
    """A response that begins while the request is still being read."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Leaves `receive` to the reader; the base class would look there for the client's end."""
        await self.stream_response(send)


async def _answer_lines(request: Request, service: Service, seat: Seat) -> AsyncIterator[bytes]:
    """An answer for each line, in order, as soon as it is there."""
    explain = _explain(request)
    answers: asyncio.Queue[asyncio.Task[bytes] | bytes | None] = asyncio.Queue(_AHEAD)
    begun: deque[asyncio.Task[bytes]] = deque(maxlen=_AHEAD + 2)
    # The bytes of lines whose answers were not sent: no more is read while these are too many.
    held: deque[int] = deque()
    sent = asyncio.Event()

    async def read() -> None:
        number = 0
        try:
            async for line in read_lines(request, service.limits, seat):
                number += 1
                if not line.strip():
                    seat.give_back(len(line))
                    continue
                begun.append(asyncio.create_task(_answer_line(line, number, explain, service)))
                held.append(len(line))
                await answers.put(begun[-1])
                while sum(held) > service.limits.max_body:
                    sent.clear()
                    await sent.wait()
        except Refused as refusal:
            await answers.put(line_of(refusal.to_dict()))
        except asyncio.CancelledError:
            if not service.stopping:
                raise
            await answers.put(line_of(stopping().to_dict()))
        await answers.put(None)

    reading = asyncio.create_task(read())
    service.endless.add(reading)
    reading.add_done_callback(service.endless.discard)
    try:
        while (answer := await answers.get()) is not None:
            if isinstance(answer, bytes):
                yield answer
                continue
            yield await answer
            seat.give_back(held.popleft())
            sent.set()
    finally:
        for task in (reading, *begun):
            task.cancel()


async def _answer_line(line: bytes, number: int, explain: bool, service: Service) -> bytes:
    try:
        fields = parse_object(line)
        text = fields.pop(TEXT, None)
        if not isinstance(text, str):
            raise unusable("`text` is missing or not a string.")
    except Refused as refusal:
        return line_of({**refusal.to_dict(), "line": number})
    return await answer_message(text, fields, number, explain, service)


async def answer_message(
    text: str,
    fields: Mapping[str, object],
    number: int,
    explain: bool,
    service: Service,
    serving: Serving | None = None,
) -> bytes:
    """The line of a stream that answers a message, or says why not; `number` is that of its line.

    While the queue is full, it waits. `serving` as for `Service.classify`.
    """
    try:
        prediction = await _when_there_is_room(text, explain, service, serving)
    except Refused as refusal:
        return line_of({**refusal.to_dict(), "line": number})
    return line_of(record_of(prediction, renamed(fields)))


async def _when_there_is_room(
    text: str, explain: bool, service: Service, serving: Serving | None
) -> Prediction:
    """The answer; while the queue is full, the stream is not read any further."""
    began = time.monotonic()
    while True:
        try:
            (prediction,) = await service.classify([text], explain, serving)
            return prediction
        except Refused as refusal:
            if refusal.kind != "overloaded" or time.monotonic() - began > service.limits.timeout:
                raise
        await asyncio.sleep(_AGAIN)


def line_of(value: Mapping[str, object]) -> bytes:
    """A line of JSON."""
    return json_text(value).encode() + b"\n"
