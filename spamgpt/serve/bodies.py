"""The bodies of requests, read within the limits on size and time, and decompressed."""

import asyncio
import json
import time
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterator

from starlette.requests import ClientDisconnect, Request

from spamgpt.serve.limits import Limits, Refused, Seat, arriving, malformed, too_large, unusable

# The `wbits` argument of zlib for its own format and for gzip's.
ZLIB, GZIP = zlib.MAX_WBITS, zlib.MAX_WBITS | 16
_FORMATS = {"gzip": GZIP, "x-gzip": GZIP, "deflate": ZLIB}
# So many bytes are decompressed at once: a few bytes can become gigabytes.
_PIECE = 64 * 1024


async def read_body(request: Request, limits: Limits, seat: Seat) -> bytes:
    """The whole body. Raises Refused if it is too large, too slow or damaged."""
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limits.max_body:
        raise _body_too_large(limits)
    body = bytearray()
    async with arriving(limits):
        async for piece in pieces_of(request):
            if len(body) + len(piece) > limits.max_body:
                raise _body_too_large(limits)
            seat.take(len(piece))
            body += piece
    return bytes(body)


async def read_lines(request: Request, limits: Limits, seat: Seat) -> AsyncGenerator[bytes]:
    """The lines of a body with their ends, as they come; the last one may have none.

    Whoever is done with a line gives its bytes back to the seat. Raises Refused for a line that is
    too large or too slow, or if none comes for too long.
    """
    pieces = aiter(pieces_of(request))
    line = bytearray()
    waited = 0.0  # for the rest of the line
    while True:
        began = time.monotonic()
        async with arriving(limits, waited):
            piece = await anext(pieces, None)
        if piece is None:
            break
        waited = waited + time.monotonic() - began if line else 0.0
        # Empty lines cost the client next to nothing: others get their turn between pieces.
        await asyncio.sleep(0)
        seat.take(len(piece))
        *ends, rest = piece.split(b"\n")
        for end in ends:
            yield bytes(line + end + b"\n")
            line.clear()
            waited = 0.0
        line += rest
        if len(line) > limits.max_body:
            raise too_large(f"A line of more than {limits.max_body:,} bytes.")
    if line:
        yield bytes(line)


async def pieces_of(request: Request) -> AsyncIterator[bytes]:
    """The body as it comes, decompressed. Raises Refused for an unknown or damaged encoding."""
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    inflater = None
    if encoding != "identity":
        if encoding not in _FORMATS:
            raise Refused(
                415, "unsupported", "The encoding of a body may be gzip, deflate or identity."
            )
        inflater = Inflater(_FORMATS[encoding])
    try:
        async for piece in request.stream():
            if inflater is None:
                yield piece
                continue
            for inflated in inflater.inflate(piece):
                yield inflated
    except ClientDisconnect:
        raise malformed("The body ends before its end.") from None
    if inflater is not None:
        inflater.end()


class Inflater:
    """Decompresses a stream. Raises Refused for one that is damaged."""

    def __init__(self, format: int = ZLIB) -> None:
        self._stream = zlib.decompressobj(format)

    def inflate(self, data: bytes) -> Iterator[bytes]:
        """What the next bytes become, in pieces, so that a reader can stop in between."""
        while data:
            if self._stream.eof:
                raise malformed("There is something behind the end of the compressed body.")
            try:
                piece = self._stream.decompress(data, _PIECE)
            except zlib.error:
                raise malformed("The compressed body is damaged.") from None
            data = self._stream.unconsumed_tail or self._stream.unused_data
            if piece:
                yield piece

    def end(self) -> None:
        """Raises Refused if the stream is not whole."""
        if not self._stream.eof:
            raise malformed("The compressed body ends before its end.")


def parse_object(data: bytes) -> dict[str, object]:
    """The object that JSON holds. Raises Refused, without a word of what it says."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        raise malformed("The body is not JSON in UTF-8.") from None
    if not isinstance(value, dict):
        raise unusable("The body is not a JSON object.")
    return value


def _body_too_large(limits: Limits) -> Refused:
    return too_large(f"The body has more than {limits.max_body:,} bytes.")
