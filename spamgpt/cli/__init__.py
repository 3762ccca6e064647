"""The `spamgpt` command. Each command's file reads options, calls a stage and shows its result.

A command's file is imported when the command is called: the others cost nothing.
"""

import importlib
import keyword
import sys
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from spamgpt.cli.command import NO_ANSWER, Command, fit_help
from spamgpt.cli.output.streams import give_up_stdout, safe_streams
from spamgpt.cli.output.wording import speak_of
from spamgpt.cli.together import check_command, one_voice
from spamgpt.errors import as_user_error
from spamgpt.version import __version__

# Each command's file and what it does, in the order in which one meets them.
SUMMARIES: Mapping[str, str] = {
    "run": "Run all stages on your messages, or on bundled ones with --offline.",
    "fetch": "Get a labelled data set and a pretrained GPT-2.",
    "prepare": "Split a data set into training, validation and test sets.",
    "finetune": "Train a classifier: replace the head, freeze most blocks, train the rest.",
    "evaluate": "Score a classifier on labelled messages, by default on the test split.",
    "compare": "Score several classifiers side by side on the same messages.",
    "sweep": "Train with several settings and seeds; show one table of the results.",
    "predict": "Classify messages from files or standard input, as they arrive.",
    "learn": "Teach a classifier what it got wrong; train it onward with the corrections.",
    "serve": "Answer mail servers and programs: HTTP, spamd, rspamd's GPT module.",
    "export": "Write a classifier for transformers, onnxruntime, or as one file.",
    "import": "Bring a classifier from another tool or machine into the workspace.",
    "pretrain": "Train a language model on unlabelled text, to fine-tune it later.",
    "artifacts": "List the artifacts of a workspace and their origins; show model cards.",
    "cache": "Show or clear the cache and the checkpoints of interrupted runs.",
}


def module_of(command: str) -> ModuleType:
    """The file of a command, imported."""
    # A word of the language, such as import, cannot name one.
    file = f"{command}_" if keyword.iskeyword(command) else command
    return importlib.import_module(f"spamgpt.cli.{file}")


class _Commands(Mapping[str, Any]):
    """The commands by name, each imported when it is asked for."""

    def __getitem__(self, name: str) -> Any:
        if name not in SUMMARIES:
            raise KeyError(name)
        module = module_of(name)
        command = module.command
        app = typer.Typer(
            rich_markup_mode=None, add_completion=False, pretty_exceptions_enable=False
        )
        app.command(
            name,
            cls=getattr(module, "Command", Command),
            help=_paragraphs(command.__doc__),
            context_settings=_SETTINGS,
        )(command)
        return typer.main.get_command(app)

    def __iter__(self) -> Iterator[str]:
        return iter(SUMMARIES)

    def __len__(self) -> int:
        return len(SUMMARIES)


class _Group(TyperGroup):
    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = _Commands()  # type: ignore[assignment]

    def list_commands(self, ctx: Any) -> list[str]:
        return list(SUMMARIES)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        if command is not None:
            check_command(str(name))
            speak_of(command.params)
        return name, command, rest

    def get_help(self, ctx: Any) -> str:
        """The help, no wider than the terminal."""
        return fit_help(super().get_help, ctx)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Written plainly: what draws boxes takes longer to import than all the rest."""
        formatter.write_usage(ctx.command_path, "COMMAND [OPTIONS] [ARGUMENTS]")
        formatter.write_paragraph()
        formatter.write_text(
            "Turn a pretrained GPT-2 into a text classifier, for spam or any other labels."
        )
        formatter.write_paragraph()
        formatter.write_text(
            "There are five stages: fetch, prepare, finetune, evaluate, predict. Each writes a "
            "versioned artifact to the workspace."
        )
        with formatter.section("Try"):
            formatter.write_text("spamgpt run --offline")
            formatter.write_text("cat messages.txt | spamgpt predict")
        with formatter.section("Commands"):
            formatter.write_dl(list(SUMMARIES.items()))
        with formatter.section("Options"):
            formatter.write_dl(
                [
                    ("--version", "Show the version."),
                    ("--install-completion", "Let the shell complete commands and options."),
                    ("--show-completion", "Show what that would add to the shell."),
                    ("-h, --help", "Show this help; for a command: spamgpt COMMAND --help."),
                ]
            )


# The status of a command that Ctrl-C ended.
INTERRUPTED = 130
_SETTINGS = {"help_option_names": ["-h", "--help"]}
app = typer.Typer(
    name="spamgpt",
    cls=_Group,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings=_SETTINGS,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"spamgpt {__version__}")
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


def main() -> None:
    """Runs the command line; ends with SystemExit."""
    with safe_streams(), one_voice():
        try:
            try:
                app(prog_name="spamgpt")
            finally:
                sys.stdout.flush()
        # Outside of a command, such as of --help or a damaged installation: commands have their
        # own (`reports_errors`).
        except Exception as error:
            give_up_stdout()
            status = as_user_error(error).exit_status
            print(f"error: {as_user_error(error).message}", file=sys.stderr)
            sys.exit(NO_ANSWER if "--exit-code" in sys.argv else status)
        except KeyboardInterrupt:
            give_up_stdout()
            sys.exit(INTERRUPTED)
