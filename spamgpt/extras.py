"""The libraries that come with an extra: asked for where they are used, named where missing."""

from importlib.util import find_spec

from spamgpt.errors import MissingInputError


def require(extra: str, *libraries: str) -> None:
    """Raises MissingInputError, naming the extra to install, if one of its libraries is missing."""
    if missing := [name for name in libraries if find_spec(name) is None]:
        raise MissingInputError(
            f"This needs {' and '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} "
            "not installed.",
            f"Install it: pip install 'spamgpt[{extra}]'",
        )
