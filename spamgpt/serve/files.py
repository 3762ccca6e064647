"""`POST /v1/classify/file`: a file of messages, read as `predict` reads it, answered in a stream.

It is read as a whole before the first answer: a browser that is still sending reads nothing.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from io import BytesIO
from itertools import islice
from pathlib import PurePath

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from spamgpt.data import inputs
from spamgpt.data.inputs import Message, read_messages
from spamgpt.data.rows import CSV, TEXT, TSV, format_of
from spamgpt.errors import SpamgptError
from spamgpt.serve.bodies import read_body
from spamgpt.serve.classify import CLASSIFIER, LINES, answer_message, line_of
from spamgpt.serve.limits import Refused, Seat, stopping, unusable
from spamgpt.serve.service import Service, Serving

# Those of files that are text; the others would have to lie on a disk.
SUFFIXES = (".txt", ".csv", ".tsv", ".jsonl", ".ndjson", ".eml", ".mbox", ".mbx")
# So many messages are classified at once.
_TOGETHER = 64


async def classify_file(request: Request, service: Service, seat: Seat) -> Response:
    """An answer for each message, or its error, a line each.

    `name` is that of the file and tells how it is read, `column` the column of the messages in a
    table. Raises Refused.
    """
    # The last part alone, as Windows and others write paths: nothing is looked for on this disk.
    name = PurePath(request.query_params.get("name", "").replace("\\", "/")).name
    if not name.lower().endswith(SUFFIXES):
        known = f"{', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}"
        raise Refused(415, "unsupported", f"`name` has to end in {known}.")
    column = request.query_params.get("column", TEXT)
    body = await read_body(request, service.limits, seat)
    messages = read_messages(
        name, BytesIO(body), text_column=column, limits=inputs.Limits(strict=False)
    )
    first, error = await asyncio.to_thread(_some, messages)
    if error and not first:
        raise unusable(error.message)
    if format_of(name) in (CSV, TSV):
        fields = next((message.row.fields for message in first if message.row.fields), {column: ""})
        if column not in fields:
            raise unusable(f"No column is named {column!r}. Name that of the messages: `column`.")
    serving = service.serving
    return StreamingResponse(
        _answers(first, error, messages, service, serving),
        media_type=LINES,
        headers={CLASSIFIER: serving.name},
    )


async def _answers(
    group: list[Message],
    error: SpamgptError | None,
    messages: Iterator[Message],
    service: Service,
    serving: Serving,
) -> AsyncIterator[bytes]:
    """The answers to the first messages and to those after them, by one classifier."""
    while group:
        tasks = [asyncio.create_task(_answer(message, service, serving)) for message in group]
        try:
            for task in tasks:
                yield await task
        finally:
            for task in tasks:
                task.cancel()
        if service.stopping:
            yield line_of(stopping().to_dict())
            return
        group, error = ([], error) if error else await asyncio.to_thread(_some, messages)
    if error is not None:
        yield line_of(unusable(error.message).to_dict())


def _some(messages: Iterator[Message]) -> tuple[list[Message], SpamgptError | None]:
    """The next messages, and the error after which none can be read."""
    found: list[Message] = []
    try:
        found.extend(islice(messages, _TOGETHER))
    except SpamgptError as error:
        return found, error
    return found, None


async def _answer(message: Message, service: Service, serving: Serving) -> bytes:
    if message.row.error:
        refusal = unusable(message.row.error.message)
        return line_of({**refusal.to_dict(), "line": message.row.line})
    return await answer_message(
        message.text, message.others, message.row.line, False, service, serving
    )
