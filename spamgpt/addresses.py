"""Addresses of files and servers. Who asks there, and with which key, is never shown or kept."""

import re

_HIDDEN = "***"
_ADDRESS = re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://)([^\s'\"<>]*[^\s'\"<>.,:;)\]])")
# A path with a query, as errors of HTTP libraries quote what they asked a server for. A question
# mark alone is a pattern for files.
_PATH = re.compile(r"(/[^\s'\"<>?#]*)\?([^\s'\"<>#=]*=[^\s'\"<>#]*[^\s'\"<>#.,:;)\]])")
# Which value of a query is a key, only its server knows.
_VALUE = re.compile(r"(?<==)[^&;]+")


def is_address(text: str) -> bool:
    """Whether this is an address and not a path: whether it has a scheme, such as `s3://`."""
    return "://" in text


def without_query(place: str) -> str:
    """An address without what follows its question mark; a path as it is."""
    return place.partition("?")[0] if is_address(place) else place


def without_secrets(text: str) -> str:
    """The text with user, password, query values and fragment of every address in it hidden."""
    text = _ADDRESS.sub(lambda found: found[1] + _hidden(found[2]), text)
    return _PATH.sub(lambda found: f"{found[1]}?{_hidden_query(found[2])}", text)


def _hidden(rest: str) -> str:
    """What follows `https://`, as it may be shown."""
    rest, hash_sign, fragment = rest.partition("#")
    place, question_mark, query = rest.partition("?")
    host, slash, path = place.partition("/")
    if re.search(r":.*\D", host.rpartition("@")[2]):
        # No port: a password with a slash in it, and the host comes after the last `@`.
        host, slash, path = place, "", ""
    if "@" in host:
        host = f"{_HIDDEN}@{host.rpartition('@')[2]}"
    if fragment:
        fragment = _HIDDEN
    return f"{host}{slash}{path}{question_mark}{_hidden_query(query)}{hash_sign}{fragment}"


def _hidden_query(query: str) -> str:
    if "=" not in query:
        return query and _HIDDEN
    return "&".join(
        _VALUE.sub(_HIDDEN, part) if "=" in part else _HIDDEN for part in query.split("&")
    )
