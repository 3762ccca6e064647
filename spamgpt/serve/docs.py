"""`/docs`: the OpenAPI schema as one page that loads nothing and runs nothing."""

import base64
import hashlib
import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

_STYLE = """
:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem; }
h2 { font-size: 1.1rem; border-top: 1px solid #8886; padding-top: 1rem; }
code, pre { font: .9rem/1.4 ui-monospace, monospace; }
pre { overflow-x: auto; padding: .75rem; border: 1px solid #8886; border-radius: .25rem; }
"""
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

# The style stands in the page: nothing else may be loaded, run, framed or sent.
DOCS_HEADERS: Mapping[str, str] = {
    "content-security-policy": f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
}


def docs_page(schema: Mapping[str, Any]) -> str:
    """The page for an OpenAPI schema: every endpoint, what it takes, an example for the shell."""
    endpoints = [
        {
            "method": method.upper(),
            "path": path,
            "description": operation.get("description", "").split("\n\n"),
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
        .render(info=schema["info"], endpoints=endpoints, style=_STYLE)
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
