"""The page of all commands and their options, written from the program."""

import re
from pathlib import Path
from typing import Any

import typer.main

from spamgpt.cli import SUMMARIES, app

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "commands.md"
_INTRODUCTION = """# Commands

What `spamgpt COMMAND --help` says, on one page. (Written by `python -m website commands`.)

"""


def page() -> str:
    """The page as the program would have it now."""
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    overview = "".join(f"| [`{name}`](#{name}) | {text} |\n" for name, text in SUMMARIES.items())
    sections = "\n".join(_section(name, commands[name]) for name in SUMMARIES)
    return f"{_INTRODUCTION}| command | does |\n|---|---|\n{overview}\n{sections}"


def _section(name: str, command: Any) -> str:
    context = command.make_context(name, [], resilient_parsing=True)
    usage = " ".join(command.collect_usage_pieces(context))
    options = "".join(
        f"| {_code(term)} | {_escaped(meaning)} |\n"
        for parameter in command.params
        if (row := parameter.get_help_record(context))
        for term, meaning in [row]
    )
    # Paragraphs that are examples are code.
    text = "\n\n".join(
        f"`{paragraph}`" if re.match(r"(spamgpt|cat|echo) ", paragraph) else _escaped(paragraph)
        for paragraph in command.help.split("\n\n")
    )
    head = f"## {name}\n`spamgpt {name} {usage}`\n\n{text}\n\n"
    return f"{head}| option | meaning |\n|---|---|\n{options}"


def _code(term: str) -> str:
    """The names of an option as code, and behind them what it takes."""
    names, _, takes = term.partition(" <")
    if not takes:
        return f"`{names}`".replace("|", "\\|")
    values = takes.removesuffix(">").replace(" range", "").replace("|", ", ")
    return f"`{names}` {_escaped(values)}"


def _escaped(text: str) -> str:
    """A help text as Markdown that shows it as it is."""
    for character in "\\`*_<>[]|":
        text = text.replace(character, f"\\{character}")
    return text.replace("  ", " ")
