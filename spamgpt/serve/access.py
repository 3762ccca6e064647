"""Who may ask: a token for the network, and nothing for pages of other sites in a browser."""

import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address
from pathlib import Path
from shlex import quote
from urllib.parse import urlsplit

from spamgpt.errors import BadDataError, MissingInputError
from spamgpt.serve.limits import Refused
from spamgpt.serve.page import PAGE_PATHS

# What tells whether the server lives is no secret, and neither is the page.
HEALTH_PATHS = ("/healthz", "/readyz")
# Anything shorter can be guessed.
_SHORTEST_TOKEN = 16
_OPEN_PATHS = (*HEALTH_PATHS, *PAGE_PATHS, "/docs")


def read_token(file: Path) -> str:
    """The token in a file. Raises MissingInputError, and BadDataError for what is no token."""
    make = f"python3 -c 'import secrets; print(secrets.token_urlsafe())' >{quote(str(file))}"
    try:
        token = file.read_text(encoding="utf-8", errors="replace").strip()
    except FileNotFoundError:
        raise MissingInputError(f"There is no file {file}.", f"Make one: {make}") from None
    if not re.fullmatch(r"[!-~]+", token) or len(token) < _SHORTEST_TOKEN:
        raise BadDataError(
            f"The token in {file} has to be one word of at least {_SHORTEST_TOKEN} ASCII "
            "characters.",
            f"Make one: {make}",
        )
    return token


@dataclass(frozen=True)
class Access:
    """`token` is what every request has to bring, if there is one.

    `local` is for a server without a token that listens on this machine alone: it answers only
    requests that name this machine. Otherwise a page of another site could have its own name point
    here and read the answers in the browser of a user (DNS rebinding).
    """

    token: str | None = None
    local: bool = False

    def check(self, path: str, headers: Mapping[str, str]) -> None:
        """Raises Refused for a request that may not be answered."""
        host = headers.get("host", "")
        origin = headers.get("origin")
        if origin is not None and _authority(origin) != host.lower():
            raise Refused(403, "forbidden", "Pages of other sites may not ask this server.")
        if self.token is None:
            if self.local and host and not _names_this_machine(host):
                raise Refused(
                    403, "forbidden", "Without a token, this server answers to localhost alone."
                )
        elif path not in _OPEN_PATHS:
            scheme, _, given = headers.get("authorization", "").partition(" ")
            # In a time that does not tell how much of it is right.
            right = hmac.compare_digest(given.strip().encode(), self.token.encode())
            if scheme.lower() != "bearer" or not right:
                raise Refused(
                    401, "unauthorized", "Send the token: the header `Authorization: Bearer TOKEN`."
                )


def _authority(origin: str) -> str:
    # Empty for `null` and for what is no origin.
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


@lru_cache(64)
def _names_this_machine(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    return name == "localhost" or is_loopback(name)


def is_loopback(address: str) -> bool:
    """Whether an IP address is one of this machine alone."""
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False
