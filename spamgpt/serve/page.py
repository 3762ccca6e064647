"""The page at `/`: files of the package that a browser loads from here, and from nowhere else."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from starlette.responses import Response

from spamgpt.style import STYLE_FILE

_FOLDER = Path(__file__).parent / "page_files"
# What is served under which path, and its type.
_FILES = {
    "/": (_FOLDER / "page.html", "text/html"),
    "/style.css": (STYLE_FILE, "text/css"),
    "/page.css": (_FOLDER / "page.css", "text/css"),
    **{
        f"/{name}.js": (_FOLDER / f"{name}.js", "text/javascript")
        for name in ("page", "rows", "answers", "api", "text")
    },
}
# They hold nothing of anybody: a browser needs them before it can ask for a token.
PAGE_PATHS = tuple(_FILES)

# Nothing of others is loaded, nothing inline runs, and no string becomes markup.
_HEADERS: Mapping[str, str] = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
    "referrer-policy": "no-referrer",
}


def page_file(path: str) -> Response:
    """The file for one of PAGE_PATHS."""
    content, kind = _read(path)
    return Response(content, media_type=kind, headers=dict(_HEADERS))


@cache
def _read(path: str) -> tuple[bytes, str]:
    file, kind = _FILES[path]
    return file.read_bytes(), kind
