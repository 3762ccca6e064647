"""What `predict` reads: files and folders, standard input, a file that grows."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from spamgpt.cli.output.keyboard import tell_of_keyboard
from spamgpt.errors import MissingInputError, UsageError
from spamgpt.reporting import Reporter
from spamgpt.stages.predict import InputFormat

STANDARD_INPUT = "standard input"


def found(paths: Sequence[Path], input_format: InputFormat, reporter: Reporter) -> list[Path]:
    """The files at the paths; standard input stays what it is."""
    from spamgpt.data.files import find_files, skipped

    taken: list[Path] = []
    left_out: list[Path] = []
    for path in paths:
        if str(path) == "-":
            if sys.stdin is None:
                raise MissingInputError("Standard input is closed.", "Name a file with messages.")
            taken.append(path)
            continue
        files, others = find_files([path], any_name=input_format != "auto")
        taken += files
        left_out += others
    if left_out:
        reporter.warn(skipped(left_out))
    return taken


def read(paths: Sequence[Path], quiet: bool) -> Iterator[tuple[str, Iterable[bytes]]]:
    """Each input's name and lines; a file is opened when the one before it is done."""
    from spamgpt.data.files import lines_of

    for path in paths:
        if str(path) != "-":
            yield str(path), lines_of(path)
            continue
        tell_of_keyboard(quiet)
        # Not sys.stdin, and never closed: the thread that waits for the next line holds the lock
        # that closing, also Python's own at exit, would wait for.
        yield STANDARD_INPUT, open(0, "rb", closefd=False)  # noqa: SIM115


def watched(
    file: Path, files: Sequence[str] | None, input_format: InputFormat, one_message: bool
) -> Iterator[tuple[str, Iterable[bytes]]]:
    """The name of a file and the lines added to it from now on.

    Raises UsageError for a file that cannot be followed, or not with what was asked for besides.
    """
    from spamgpt.data.files import follow, format_of, is_binary
    from spamgpt.data.rows import JSONL, LINES

    if files or one_message:
        other = "other files" if files else "--exit-code or --add-header"
        raise UsageError(f"--watch cannot be combined with {other}.", "Follow one file of lines.")
    format = format_of(file) if input_format == "auto" else input_format
    packed = file.suffix == ".gz" or is_binary(file)
    no_file = file.exists() and not file.is_file()
    if no_file or format not in (LINES, JSONL) or packed:
        raise UsageError(
            f"{file} cannot be followed: --watch reads lines and JSONL.", "Leave --watch out."
        )
    return iter([(str(file), follow(file))])
