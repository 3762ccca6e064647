"""Messages labelled by the place where they lie: a folder for each label, or mailboxes of each."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import TypeVar

from spamgpt.data.binary import json_line
from spamgpt.data.encodings import without_surrogates
from spamgpt.data.files import find_files, format_of, is_maildir, lines_of, plain_name
from spamgpt.data.inputs import AUTO, read_messages
from spamgpt.data.mail import begins_an_mbox, looks_like_header, looks_like_mail
from spamgpt.data.rows import LABEL, LINES, TEXT
from spamgpt.errors import MissingInputError
from spamgpt.reporting import Reporter

STANDARD_INPUT = Path("-")

_TEXT_SUFFIX = ".txt"
Label = TypeVar("Label")


def label_folders(folder: Path) -> list[tuple[str, Path]]:
    """The folders in a folder, each with the label that it is named after.

    Raises MissingInputError if there are none, or if the folder is itself a mailbox.
    """
    hint = "Give FOLDER with FOLDER/spam/1.txt, FOLDER/ham/2.eml and so on, or "
    hint += "paths by label: `spam=PATH`, `ham=PATH`"
    if is_maildir(folder):
        raise MissingInputError(f"{folder} is a Maildir, whose mails have no labels.", hint)
    found = [
        (entry.name, entry)
        for entry in sorted(folder.iterdir())
        if entry.is_dir() and not entry.name.startswith(".")
    ]
    if not found:
        raise MissingInputError(f"{folder} has no folders that are named after labels.", hint)
    return found


def write_labelled(labelled: Sequence[tuple[str, Path]], file: Path, reporter: Reporter) -> None:
    """Writes the messages of `read_labelled` into a JSONL file.

    Outside of mails, what is not UTF-8 is an error. Raises as that.
    """
    with file.open("wb") as lines:
        for label, text in read_labelled(labelled, reporter, undecodable="strict"):
            lines.write(json_line({LABEL: label, TEXT: without_surrogates(text)}))


def read_labelled(
    labelled: Sequence[tuple[Label, Path]],
    reporter: Reporter,
    format: str = AUTO,
    text_column: str = TEXT,
    undecodable: str = "replace",
) -> Iterator[tuple[Label, str]]:
    """The messages at pairs of a label and a path, each with its label; those without text are not.

    A path is read as `spamgpt predict` reads it: a mail, an mbox, a Maildir, a file of lines or a
    table, a folder of all these, STANDARD_INPUT; but in a folder a text file is one message, and
    what lies in a path that is given, too, such as the folder of junk in a Maildir, has only that
    one's label. `format`, `text_column` and `undecodable` are those of `read_messages`. Raises
    BadDataError naming the file, or MissingInputError for a path without messages.
    """
    skipped: list[Path] = []
    empty = 0
    for label, path in labelled:
        found = 0
        inner = [
            other.resolve() for _, other in labelled if path.resolve() in other.resolve().parents
        ]
        for name, lines, whole in _inputs(path, inner, skipped if format == AUTO else None):
            for message in read_messages(
                name, lines, format, text_column, whole=whole, undecodable=undecodable
            ):
                if message.text.strip():
                    found += 1
                    yield label, message.text
                else:
                    empty += 1
        if not found:
            raise MissingInputError(
                f"There are no messages in {path}.",
                "Give a folder of .txt or .eml files, an mbox, a Maildir, or a file of lines.",
            )
    if empty:
        reporter.note(f"Messages without text left out: {empty:,}")
    if skipped:
        reporter.warn(
            f"Files skipped because they are neither mails nor have a known name: "
            f"{len(skipped):,}, such as {skipped[0]}"
        )


def _inputs(
    path: Path, left_to_others: Sequence[Path], skipped: list[Path] | None
) -> Iterator[tuple[str, Iterable[bytes], bool]]:
    """The name and the lines of each input at a path, and whether it is one message.

    Files whose kind is not known are added to `skipped`; None reads them, too.
    """
    if path == STANDARD_INPUT:
        yield "standard input", *_standard_input()
        return
    files, _ = find_files([path], any_name=True)
    for file in files:
        if any(each in (file.resolve(), *file.resolve().parents) for each in left_to_others):
            continue
        lines: Sequence[bytes] | Iterator[bytes] = lines_of(file)
        whole = False
        if skipped is not None and path.is_dir() and format_of(file) == LINES:
            lines = list(lines)
            whole = not (lines and begins_an_mbox(lines[0]))
            named = Path(plain_name(file)).suffix.lower() == _TEXT_SUFFIX
            if not named and not looks_like_mail(b"".join(lines)):
                skipped.append(file)
                continue
        yield str(file), lines, whole


def _standard_input() -> tuple[Iterable[bytes], bool]:
    """Its lines, and whether they are one mail, as a mail program gives them to a command."""
    # Not sys.stdin, and never closed: a thread may be waiting for the next line.
    lines: Iterator[bytes] = iter(open(0, "rb", closefd=False))  # noqa: SIM115
    first = list(islice(lines, 1))
    if not first or begins_an_mbox(first[0]) or not looks_like_header(first[0]):
        return chain(first, lines), False
    whole = [*first, *lines]
    return whole, looks_like_mail(b"".join(whole))
