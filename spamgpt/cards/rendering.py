"""The family of model cards: how a template and a record become Markdown with front matter.

Every card extends `base.md.jinja`. What is put into one is text: no markup, HTML or line break of a
label, a name or a setting gets through.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from spamgpt.markdown import Markdown, as_markdown, table

if TYPE_CHECKING:
    from huggingface_hub import ModelCardData


def render(
    template: str, front_matter: "ModelCardData", folder: Path | None = None, **values: Any
) -> str:
    """A template filled in; the same values give the same text.

    `folder` may hold templates that extend those of the package.
    """
    from jinja2 import ChoiceLoader, Environment, FileSystemLoader, PackageLoader, StrictUndefined

    loaders = [FileSystemLoader(folder)] if folder else []
    environment = Environment(
        loader=ChoiceLoader([*loaders, PackageLoader("spamgpt.cards")]),
        # Markdown, not HTML: what is put in goes through `as_markdown` instead.
        autoescape=False,
        finalize=as_markdown,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=StrictUndefined,
    )
    environment.filters["count"] = lambda number: f"{number:,}"
    body = environment.get_template(template).render(values)
    # A part that a card leaves out leaves no gap.
    body = re.sub(r"\n{3,}", "\n\n", body).strip() + "\n"
    told = front_matter.to_yaml(original_order=["license", "language", "base_model"])
    return f"---\n{told.strip()}\n---\n{body}"


def settings_table(settings: Mapping[str, Any]) -> Markdown:
    """The settings that have a value; of files and folders only the names."""
    rows = [
        (name.replace("_", " "), _setting(name, value))
        for name, value in settings.items()
        if value is not None
    ]
    return table(("setting", "value"), rows, left=2)


def _setting(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name == "texts":
        # Where they lie on somebody's disk is nobody's business.
        return ", ".join(PurePath(text).name or "a folder" for text in value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(f"{each[0]}={each[1]:g}" for each in value)
    return str(value)
