"""spamgpt learn"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any

import typer

from spamgpt.cli import command as commands
from spamgpt.cli.dataset_options import labelled_from
from spamgpt.cli.options import (
    DEFAULT_WORKSPACE,
    CacheLimitOption,
    DebugOption,
    DeviceOption,
    JsonOption,
    QuietOption,
    SeedOption,
    TextColumnOption,
    ThreadsOption,
    WorkspaceOption,
    reports_errors,
    settings_from,
)
from spamgpt.cli.output.keyboard import tell_of_keyboard
from spamgpt.device import keep_freed_memory, set_threads
from spamgpt.errors import UsageError
from spamgpt.stages import learn, teach
from spamgpt.stages.learn import Judged, LearnSettings, Learnt
from spamgpt.stages.predict import InputFormat
from spamgpt.stages.teach import TeachSettings
from spamgpt.workspace import Workspace

_WITH_FILES = ("--spam", "--ham", "--labelled", "--forget")


class Command(commands.Command):
    """`--spam a.eml b.eml` means `--spam a.eml --spam b.eml`, as a shell writes `--spam *.eml`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As every command, with the options repeated."""
        return super().parse_args(ctx, repeated(args))


def repeated(arguments: Sequence[str]) -> list[str]:
    """The arguments with an option before every file that follows one of _WITH_FILES."""
    found: list[str] = []
    option = None
    for argument in arguments:
        if argument.startswith("-") and argument != "-":
            option = next((o for o in _WITH_FILES if argument.partition("=")[0] == o), None)
            found.append(argument)
        elif option is None or found[-1] == option:
            found.append(argument)
        else:
            found += [option, argument]
    return found


@reports_errors
def command(
    spam: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE...",
            help="Messages that are spam: emails, mailboxes, Maildirs, folders, tables or lines, "
            "as spamgpt predict reads them; - for standard input. In a folder, every .txt file is "
            "one message.",
            show_default=False,
        ),
    ] = None,
    ham: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE...", help="Messages that are not spam.", show_default=False),
    ] = None,
    labelled: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LABEL=FILE...", help="Messages of any other label.", show_default=False
        ),
    ] = None,
    forget: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE...",
            help="Messages whose corrections are taken back.",
            show_default=False,
        ),
    ] = None,
    train: Annotated[
        bool,
        typer.Option(
            "--train",
            help="Train the newest classifier onward with all corrections. The result replaces it "
            "if it is better on them and not worse on the validation split.",
        ),
    ] = False,
    input_format: Annotated[
        InputFormat,
        typer.Option(
            help="Input format, as of spamgpt predict. auto: guessed from the file name; one mail "
            "on standard input is recognized."
        ),
    ] = TeachSettings.input_format,
    text_column: TextColumnOption = TeachSettings.text_column,
    replay: Annotated[
        int,
        typer.Option(
            min=0,
            help="With --train: the most messages of the old training split that are trained on "
            "again, so that what they taught is kept.",
        ),
    ] = LearnSettings.replay,
    epochs: Annotated[
        int, typer.Option(min=1, help="With --train: passes over these messages.")
    ] = LearnSettings.epochs,
    learning_rate: Annotated[
        float | None,
        typer.Option(
            min=0, help="With --train: learning rate.", show_default="half of the classifier's"
        ),
    ] = LearnSettings.learning_rate,
    seed: SeedOption = LearnSettings.seed,
    cache_limit: CacheLimitOption = LearnSettings.cache_limit,
    device: DeviceOption = LearnSettings.device,
    threads: ThreadsOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    quiet: QuietOption = False,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Teach the classifier what it got wrong.

    spamgpt learn --spam missed.eml --ham newsletter.eml friends.mbox

    spamgpt learn --train

    Corrections are kept in the workspace, in corrections.sqlite3; the last word on a message
    counts. Without --train they only wait: --train learns them, and spamgpt prepare adds them to
    the training split.
    """
    set_threads(threads)
    keep_freed_memory()
    from spamgpt.cli.output.screen import ScreenReporter, show_json, show_result
    from spamgpt.data.corrections import Corrections

    reporter, store = ScreenReporter(quiet), Workspace(workspace)
    pairs: list[tuple[str | None, str]] = [*labelled_from(spam, ham, labelled)]
    pairs += [(None, path) for path in forget or ()]
    if [path for _, path in pairs].count("-") > 1:
        raise UsageError("Standard input can only be read once.", "Give - once.")
    taught = None
    if pairs:
        if "-" in (path for _, path in pairs):
            tell_of_keyboard(quiet)
        taught = teach.run(settings_from(TeachSettings, locals(), labelled=pairs), store, reporter)
    labels = Corrections(store).labels
    if not json:
        shown = []
        if taught is not None:
            told = {"relabelled": "with another label", "known": "known already"}
            counts = [f"{n:,} {told.get(name, name)}" for name, n in asdict(taught).items() if n]
            shown.append(("taught", ", ".join(counts) or "nothing"))
        kinds = ", ".join(f"{count:,} {label}" for label, count in labels.items())
        shown.append(("corrections", f"{sum(labels.values()):,}" + (kinds and f": {kinds}")))
        show_result(shown)
    learnt = None
    if train:
        settings = settings_from(LearnSettings, locals())
        learnt = learn.run(settings, store, reporter)
        if not json:
            _show(learnt, reporter)
    elif not json and not quiet and labels:
        reporter.note("To train the classifier with them: spamgpt learn --train")
    if json:
        found: dict[str, Any] = {"corrections": labels}
        if taught is not None:
            found["taught"] = asdict(taught)
        if train:
            found["learnt"] = learnt.to_dict() if learnt else None
        show_json(found)


def _show(learnt: Learnt | None, reporter: Any) -> None:
    from spamgpt.cli.output.screen import show_result

    if learnt is None:
        reporter.note("The classifier in use has learnt all of them already.")
        return
    shown = [
        (f"{name} right", _right(getattr(learnt, name))) for name in ("corrections", "validation")
    ]
    if learnt.classifier:
        shown.append(
            ("in use", f"{learnt.classifier.reference}, made from {learnt.before.reference}")
        )
    else:
        shown.append(("in use", f"{learnt.before.reference} as before. The new one was not kept."))
    show_result(shown)
    if learnt.classifier:
        first, second = (a.folder.name for a in (learnt.before, learnt.classifier))
        reporter.note(f"Side by side: spamgpt compare {first} {second}")
    else:
        reporter.warn(str(learnt.reason))


def _right(judged: Judged) -> str:
    return (
        f"{judged.right_before:,} of {judged.messages:,} before, {judged.right_after:,} after "
        f"(p = {judged.p_value:.2g})"
    )
