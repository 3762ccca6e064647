"""The sockets that a daemon listens on, and who can reach them."""

import os
import socket
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from spamgpt.errors import UsageError
from spamgpt.serve.access import is_loopback

# Connections that may wait to be accepted.
BACKLOG = 1024


@dataclass(frozen=True)
class Address:
    """Where to listen: an IP address and a port; port 0 is any that is free."""

    ip: str
    port: int

    def __str__(self) -> str:
        return f"[{self.ip}]:{self.port}" if ":" in self.ip else f"{self.ip}:{self.port}"

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it."""
        return is_loopback(self.ip)


def address_of(host: str, port: int) -> Address:
    """The address that a name stands for. Raises UsageError if it stands for none."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise UsageError(
            f"{host!r} is no address of this machine.", "Give one such as 127.0.0.1."
        ) from error
    return Address(str(found[0][4][0]), port)


def listen(address: Address) -> socket.socket:
    """A TCP socket that listens. Raises UsageError for an address that is taken or not allowed."""
    family = socket.AF_INET6 if ":" in address.ip else socket.AF_INET
    try:
        listener = socket.create_server((address.ip, address.port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise UsageError(
            # Its own words repeat the address.
            f"{address} cannot be listened on: {os.strerror(error.errno or 0)}.",
            "Choose another address or port, or end what listens there.",
        ) from error
    # The connections inherit it. Without, an answer of two pieces waits 40 ms for the client to
    # acknowledge the first; asyncio sets it only for sockets that are created in another way.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def listen_on_path(path: Path) -> socket.socket:
    """A unix socket that listens; what a daemon that was killed left behind is replaced.

    Raises UsageError if there is another file or another daemon, or if the path cannot be used.
    """
    with suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.stat().st_mode):
            raise UsageError(f"{path} is no socket.", "Name a file that does not exist.")
        with socket.socket(socket.AF_UNIX) as other:
            try:
                other.connect(str(path))
            except ConnectionRefusedError:
                path.unlink()
            except OSError as error:
                raise UsageError(
                    f"{path} is a socket of something else: {error.strerror}.",
                    "Name a file that does not exist.",
                ) from error
            else:
                raise UsageError(f"{path} is in use.", "End the daemon that listens there.")
    listener = socket.socket(socket.AF_UNIX)
    try:
        listener.bind(str(path))
        # Who may speak to it is decided by the permissions of its folder.
        os.chmod(path, 0o666)  # noqa: PTH101
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise UsageError(
            f"{path} cannot be listened on: {error.strerror or error}.", "Choose another path."
        ) from error
    return listener
