"""`/docs`: the OpenAPI schema as one page that runs nothing and loads only its styles."""

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

# Its styles are those of the page; nothing else may be loaded, run, framed or sent.
DOCS_HEADERS: Mapping[str, str] = {
    "content-security-policy": "default-src 'none'; style-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
}


def docs_page(schema: Mapping[str, Any]) -> str:
    """The page for an OpenAPI schema: every endpoint, what it takes, an example for the shell."""
    endpoints = [
        {
            "method": method.upper(),
            "path": path,
            # Every second part of a paragraph stands between backticks.
            "description": [
                paragraph.split("`") for paragraph in operation.get("description", "").split("\n\n")
            ],
            "bodies": [
                {"kind": kind, "example": _shown(body["example"])}
                for kind, body in operation.get("requestBody", {}).get("content", {}).items()
            ],
        }
        for path, methods in schema["paths"].items()
        for method, operation in methods.items()
    ]
    return (
        _environment()
        .get_template("docs.html.jinja")
        .render(info=schema["info"], endpoints=endpoints)
    )


def _shown(example: object) -> str:
    return example if isinstance(example, str) else json.dumps(example)


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("spamgpt.serve"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
