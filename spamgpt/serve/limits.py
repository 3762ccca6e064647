"""What a server takes from its clients, and how it says no."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

# The bytes of all requests that are held at once, as a multiple of the largest one.
_HELD = 8


@dataclass(frozen=True)
class Limits:
    """The most that a server takes. Sizes are in bytes after decompression, times in seconds.

    `max_body` is the size of a request, in a stream that of a line; `max_text` the length of a
    message in characters; `max_texts` the number of messages in a request that is no stream;
    `max_queue` the number of messages that wait to be classified. `timeout` is the longest that a
    request, in a stream a line, may take to arrive, and again to be answered.
    """

    max_body: int = 8 * 1024 * 1024
    max_text: int = 200_000
    max_texts: int = 1_000
    max_queue: int = 2_000
    max_connections: int = 512
    max_client_connections: int = 256
    timeout: float = 30.0


class Refused(Exception):
    """A request that is not answered: the status of HTTP, the kind for programs, and the reason.

    The reason never holds text of a message. `retry_after` is in seconds.
    """

    def __init__(self, status: int, kind: str, reason: str, retry_after: int | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.kind = kind
        self.reason = reason
        self.retry_after = retry_after

    def to_dict(self) -> dict[str, object]:
        """The body of the response. OpenAI's clients show `message`, too."""
        return {"error": {"type": self.kind, "message": self.reason}}


def malformed(reason: str) -> Refused:
    """The refusal of what cannot be read."""
    return Refused(400, "malformed", reason)


def unusable(reason: str) -> Refused:
    """The refusal of what can be read but does not hold what it should."""
    return Refused(422, "unusable", reason)


def too_large(reason: str) -> Refused:
    """The refusal of what is beyond a limit on size or number."""
    return Refused(413, "too_large", reason)


def too_slow(limits: Limits) -> Refused:
    """The refusal of a request that did not arrive in time."""
    said = f"The request did not arrive within {limits.timeout:g} seconds."
    return Refused(408, "too_slow", said)


@asynccontextmanager
async def arriving(limits: Limits, waited: float = 0) -> AsyncIterator[None]:
    """Around what waits for a client: raises Refused when the time is over.

    `waited` is how many seconds of it are over already.
    """
    try:
        async with asyncio.timeout(limits.timeout - waited):
            yield
    except TimeoutError:
        raise too_slow(limits) from None


def overloaded(reason: str, retry_after: int = 1) -> Refused:
    """The refusal of what there is no room for now."""
    return Refused(503, "overloaded", reason, retry_after)


def stopping() -> Refused:
    """The refusal of new work while the server stops."""
    return Refused(503, "stopping", "The server is stopping.", retry_after=5)


class Room:
    """The memory for requests: counts the bytes of all that are held at once."""

    def __init__(self, limits: Limits) -> None:
        self._free = _HELD * limits.max_body

    @contextmanager
    def seat(self) -> Iterator["Seat"]:
        """The place of one request, empty at first and given back at the end."""
        seat = Seat(self)
        try:
            yield seat
        finally:
            self._free += seat.taken

    def take(self, size: int) -> None:
        """Raises Refused if there are not so many bytes left."""
        if size > self._free:
            raise overloaded("The server holds too many large requests at the moment.")
        self._free -= size


class Seat:
    """What one request takes of the room."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self.taken = 0

    def take(self, size: int) -> None:
        """Counts bytes that were read; raises Refused if there is no room for them."""
        self._room.take(size)
        self.taken += size

    def give_back(self, size: int) -> None:
        """Counts bytes that are no longer held."""
        self._room.take(-size)
        self.taken -= size
