"""The protocol of SpamAssassin's daemon, spamd: mail servers and mail programs speak it.

As described in SpamAssassin's `spamd/PROTOCOL` (version 1.5): a line with a command, headers, an
empty line, a mail; one request a connection. What each command is answered with is in
`spamd_answers`.
"""

import asyncio
import re
import time
from collections.abc import Mapping
from contextlib import suppress

from spamgpt.serve.bodies import Inflater
from spamgpt.serve.connections import Connections, client_of
from spamgpt.serve.limits import Limits, Refused, Seat, arriving, malformed, too_large
from spamgpt.serve.log import log_unexpected
from spamgpt.serve.service import Service
from spamgpt.serve.spamd_answers import COMMANDS, SpamdRequest, answer

# Of a request's first line and headers.
_MOST_HEADER_BYTES = 16 * 1024
_PIECE = 64 * 1024
# So many seconds a client that was refused may go on sending.
_HEARD_OUT = 2
_FIRST_LINE = re.compile(rb"([A-Za-z_]+) SPAMC/(\d{1,3})\.(\d{1,3})")

# The numbers and names that spamc and others know (sysexits.h, and spamc's own), by the status that
# HTTP has for the same.
_ENDINGS = {
    400: (76, "EX_PROTOCOL"),
    408: (79, "EX_TIMEOUT"),
    413: (98, "EX_TOOBIG"),
    422: (64, "EX_USAGE"),
    429: (75, "EX_TEMPFAIL"),
    431: (76, "EX_PROTOCOL"),
    500: (70, "EX_SOFTWARE"),
    501: (69, "EX_UNAVAILABLE"),
    503: (75, "EX_TEMPFAIL"),
}


class SpamdServer:
    """Answers connections until it is stopped; what was accepted is answered."""

    def __init__(self, service: Service, connections: Connections | None = None) -> None:
        self._service = service
        self._connections = connections or Connections(service.limits)
        # Connections and whether a request has begun to come.
        self._open: dict[asyncio.Task[None], bool] = {}

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serves one connection; give it to `asyncio.start_server`."""
        task = asyncio.current_task()
        assert task is not None
        self._open[task] = False
        # Also the end of an answer is waited for with a limit, as long as nobody reads it.
        writer.transport.set_write_buffer_limits(0)
        client = client_of(writer.transport)
        counted = False
        began = time.perf_counter()
        command, status = "none", 200
        try:
            self._connections.open(client)
            counted = True
            with self._service.room.seat() as seat:
                command, version, size = await self._begin(reader, task)
                if command == "SKIP":
                    return
                response = b"SPAMD/1.5 0 PONG\r\n"
                if command != "PING":
                    headers, mail = await self._read(size, reader, seat)
                    request = SpamdRequest(command, version, headers, mail)
                    response = await answer(request, self._service)
                await self._send(writer, response)
        except Refused as refusal:
            status = refusal.status
            await self._send(writer, _refused(refusal))
            await _hear_out(reader, writer)
        except (ConnectionError, asyncio.CancelledError):
            status = 0  # nobody is there to be told
        except Exception as error:
            log_unexpected(error)
            status = 500
            await self._send(writer, _refused(Refused(500, "unexpected", "Something went wrong.")))
        finally:
            writer.close()
            if counted:
                self._connections.close(client)
            del self._open[task]
            took = time.perf_counter() - began
            self._service.metrics.count_request("spamd", command, status, took)

    async def stop(self) -> None:
        """Ends connections on which nothing has come, and waits for the others."""
        for task, began in self._open.items():
            if not began:
                task.cancel()
        while self._open:
            await asyncio.wait(list(self._open))

    async def _begin(
        self, reader: asyncio.StreamReader, task: "asyncio.Task[None]"
    ) -> tuple[str, tuple[int, int], int]:
        """The command, the version of the protocol, and the bytes of their line.

        From now on the connection counts as one with a request.
        """
        async with arriving(self._service.limits):
            line = await _line(reader)
        self._open[task] = True
        match = _FIRST_LINE.match(line)
        command = match[1].decode().upper() if match else ""
        if match is None or command not in (*COMMANDS, "PING", "SKIP"):
            raise malformed("This is not a command of spamd.")
        return command, (int(match[2]), int(match[3])), len(line)

    async def _read(
        self, size: int, reader: asyncio.StreamReader, seat: Seat
    ) -> tuple[Mapping[str, str], bytes]:
        """The headers, by their names in lower case, and the mail; `size` bytes came before."""
        async with arriving(self._service.limits):
            headers: dict[str, str] = {}
            while line := (await _line(reader)).strip():
                size += len(line)
                if size > _MOST_HEADER_BYTES:
                    raise too_large(f"More than {_MOST_HEADER_BYTES:,} bytes of headers.")
                name, colon, value = line.decode("latin-1").partition(":")
                if not colon:
                    raise malformed("A header line has no colon.")
                headers[name.strip().lower()] = value.strip()
            body = await _body(headers, reader, self._service.limits, seat)
        return headers, body

    async def _send(self, writer: asyncio.StreamWriter, response: bytes) -> None:
        try:
            writer.write(response)
            async with asyncio.timeout(self._service.limits.timeout):
                await writer.drain()
        except (ConnectionError, TimeoutError):
            writer.transport.abort()  # nobody reads


async def _line(reader: asyncio.StreamReader) -> bytes:
    """The next line; empty at the end. The reader's own limit bounds it."""
    try:
        return await reader.readline()
    except ValueError:
        raise too_large("A line is too long.") from None


async def _body(
    headers: Mapping[str, str], reader: asyncio.StreamReader, limits: Limits, seat: Seat
) -> bytes:
    """The mail: as long as declared or, undeclared, up to where the client closes its side."""
    length = headers.get("content-length")
    if length is not None and not (length.isascii() and length.isdecimal() and len(length) < 20):
        raise malformed("Content-length is not a number.")
    compression = headers.get("compress")
    if compression is not None and compression.lower() != "zlib":
        raise malformed("Compress may be zlib.")
    inflater = Inflater() if compression else None
    left = limits.max_body + 1 if length is None else int(length)
    if left > limits.max_body and length is not None:
        raise _mail_too_large(limits)
    body = bytearray()
    while left and (data := await reader.read(min(left, _PIECE))):
        left -= len(data)
        for piece in inflater.inflate(data) if inflater else (data,):
            if len(body) + len(piece) > limits.max_body:
                raise _mail_too_large(limits)
            seat.take(len(piece))
            body += piece
    if left and length is not None:
        raise malformed("The mail is shorter than Content-length.")
    if inflater:
        inflater.end()
    return bytes(body)


async def _hear_out(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Lets a client that is still sending come to its end, or the refusal would not reach it."""
    with suppress(ConnectionError, TimeoutError, OSError):
        writer.write_eof()
        async with asyncio.timeout(_HEARD_OUT):
            while await reader.read(_PIECE):
                pass


def _mail_too_large(limits: Limits) -> Refused:
    return too_large(f"The mail has more than {limits.max_body:,} bytes.")


def _refused(refusal: Refused) -> bytes:
    number, name = _ENDINGS.get(refusal.status, (70, "EX_SOFTWARE"))
    return f"SPAMD/1.1 {number} {name} {refusal.reason}\r\n\r\n".encode("ascii", "replace")
