"""HTTP connections with limits: uvicorn's protocol, bounded before there is a request.

Headers that never end, bodies that stop, clients that do not read what they asked for: none of them
holds a connection for longer than the limits say, and who can still hear is told why.
"""

import asyncio
import json
from collections import Counter
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from spamgpt.serve.limits import Limits, Refused, malformed, overloaded, too_slow

# Of a request line with its headers, and of anything else in between that is no body.
_MOST_HEADER_BYTES = 64 * 1024
# So many requests may have come before the one ahead of them is answered.
_MOST_PIPELINED = 100


class Connections:
    """How many connections there are, in all and from each client."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._open: Counter[str] = Counter()

    def open(self, client: str) -> None:
        """Counts a connection; raises Refused if there are too many."""
        limits = self._limits
        if self._open.total() >= limits.max_connections:
            raise overloaded(f"More than {limits.max_connections:,} connections.")
        if self._open[client] >= limits.max_client_connections:
            raise Refused(
                429,
                "too_many_connections",
                f"More than {limits.max_client_connections:,} connections of one client.",
                retry_after=1,
            )
        self._open[client] += 1

    def close(self, client: str) -> None:
        """Counts the end of a connection that was counted."""
        self._open[client] -= 1
        if not self._open[client]:
            del self._open[client]


def client_of(transport: asyncio.BaseTransport) -> str:
    """The address of a client; one for all that come through a unix socket."""
    peer = transport.get_extra_info("peername")
    return str(peer[0]) if isinstance(peer, tuple) else ""


def bounded_http(limits: Limits, connections: Connections) -> type[HttpToolsProtocol]:
    """The protocol to give to uvicorn."""

    class BoundedHttp(_BoundedHttp):
        pass

    BoundedHttp.limits = limits
    BoundedHttp.open_connections = connections
    return BoundedHttp


class _Gathering:
    """A transport that sends what is written together as one piece: an answer's head and body."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._written: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        self._written.append(data)
        if len(self._written) == 1:
            self._loop.call_soon(self._send)

    def close(self) -> None:
        self._send()
        self._transport.close()

    def _send(self) -> None:
        if self._written:
            self._transport.write(b"".join(self._written))
            self._written.clear()


class _BoundedHttp(HttpToolsProtocol):
    limits: Limits
    open_connections: Connections

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._counted: str | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None
        # Bytes that came since the last piece of a body.
        self._header_bytes = 0
        self._arriving = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(cast(asyncio.Transport, _Gathering(transport, self.loop)))
        # Also the end of an answer is not kept for ever for a client that does not read.
        transport.set_write_buffer_limits(0)
        client = client_of(transport)
        try:
            self.open_connections.open(client)
        except Refused as refusal:
            self._refuse(refusal)
            return
        self._counted = client
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._deadline, self._unread):
            if timer:
                timer.cancel()
        if self._counted is not None:
            self.open_connections.close(self._counted)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        self._header_bytes += len(data)
        super().data_received(data)
        if self._header_bytes and not self._arriving and self._deadline is None:
            self._wait()  # a connection that was kept alive begins another request
        if self._header_bytes > _MOST_HEADER_BYTES and not self.transport.is_closing():
            self._refuse(
                Refused(431, "too_large", f"More than {_MOST_HEADER_BYTES:,} bytes of headers.")
            )

    def on_headers_complete(self) -> None:
        if len(self.pipeline) >= _MOST_PIPELINED:
            raise ValueError("too many requests wait")  # which ends the parser
        self._arriving = True
        self._header_bytes = 0
        super().on_headers_complete()
        self._rest()

    def on_body(self, body: bytes) -> None:
        self._header_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._arriving = False
        self._header_bytes = 0
        self._rest()
        super().on_message_complete()
        if self.cycle.response_complete:
            self._wait()  # it was refused while it came; the next one has as long as the first

    def on_response_complete(self) -> None:
        super().on_response_complete()
        # What is still to come of the request has been refused; it may not come for ever.
        if self._arriving:
            self._wait()

    def eof_received(self) -> bool:  # type: ignore[override]
        """Answers also a client that has closed its side after a whole request."""
        if self._arriving or self.cycle is None or self.cycle.response_complete:
            return False
        self.cycle.keep_alive = False
        return True

    def pause_writing(self) -> None:
        super().pause_writing()
        # The client does not read. What waits for it is not kept for ever.
        self._unread = self.loop.call_later(self.limits.timeout, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._unread:
            self._unread.cancel()
            self._unread = None

    def send_400_response(self, msg: str) -> None:
        self._refuse(malformed("This is not a request of HTTP/1.1."))

    def _wait(self) -> None:
        self._rest()
        self._deadline = self.loop.call_later(self.limits.timeout, self._give_up)

    def _rest(self) -> None:
        if self._deadline:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        if self._arriving or self._header_bytes == 0:
            self.transport.abort()
        else:
            self._refuse(too_slow(self.limits))

    def _refuse(self, refusal: Refused) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            # In the middle of a response there is no place for another.
            self.transport.close()
            return
        body = json.dumps(refusal.to_dict()).encode()
        head = [
            STATUS_LINE[refusal.status],
            b"content-type: application/json\r\n",
            b"content-length: %d\r\nconnection: close\r\n" % len(body),
        ]
        if refusal.retry_after is not None:
            head.append(b"retry-after: %d\r\n" % refusal.retry_after)
        self.transport.write(b"".join([*head, b"\r\n", body]))
        self.transport.close()
