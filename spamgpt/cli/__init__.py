"""The `spamgpt` command. Each command's file reads options, calls a stage and shows its result."""

from typing import Annotated

import typer

import spamgpt
from spamgpt.cli import artifacts, cache, evaluate, fetch, finetune, predict, prepare, pretrain, run

app = typer.Typer(
    name="spamgpt",
    help=(
        "Turn a pre-trained GPT-2 into a text classifier, spam or ham first of all.\n\n"
        "Five stages, each writing a versioned artifact into the workspace:\n\n"
        "  [bold]fetch[/bold] → [bold]prepare[/bold] → [bold]finetune[/bold] → "
        "[bold]evaluate[/bold] → [bold]predict[/bold]\n\n"
        "See it work: spamgpt run --offline\n\n"
        "Then:        cat messages.txt | spamgpt predict"
    ),
    rich_markup_mode="rich",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"spamgpt {spamgpt.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    pass


def _paragraphs(docstring: str | None) -> str:
    """Lets the terminal, not the source, break the lines of a help text."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in (docstring or "").split("\n\n"))


for _module in (run, fetch, prepare, finetune, evaluate, predict, pretrain, artifacts, cache):
    app.command(_module.__name__.rpartition(".")[2], help=_paragraphs(_module.command.__doc__))(
        _module.command
    )


def main() -> None:
    app(prog_name="spamgpt")
