"""The options that say which labelled messages are fetched."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from spamgpt.errors import UsageError

DatasetOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="<str>",
        help="sms-spam-collection, bundled-messages (written for spamgpt), a CSV, TSV, JSONL, "
        "Parquet or Excel file (also .gz or .zip) by path or URL, a folder with one folder of "
        ".txt or .eml files for each label, or hf:owner/dataset[:config][@revision]. Repeat it to "
        "join several data sets; the column source keeps their names.",
        show_default="sms-spam-collection, else bundled-messages",
    ),
]
SpamOption = Annotated[
    list[str] | None,
    typer.Option(
        "--spam",
        metavar="PATH",
        help="Messages that are spam: an email, an mbox, a Maildir, a folder of emails, or any "
        "other file that spamgpt predict reads. In a folder, every .txt file is one message. Can "
        "be repeated.",
        show_default=False,
    ),
]
HamOption = Annotated[
    list[str] | None,
    typer.Option(
        "--ham",
        metavar="PATH",
        help="Messages that are not spam, in the same way. Can be repeated.",
        show_default=False,
    ),
]
LabelledOption = Annotated[
    list[str] | None,
    typer.Option(
        "--labelled",
        metavar="LABEL=PATH",
        help="Messages of any label, in the same way. Can be repeated.",
        show_default=False,
    ),
]
EncodingOption = Annotated[
    str | None,
    typer.Option(
        "--encoding",
        metavar="NAME",
        help="Encoding of a data file, such as utf-16 or cp1252.",
        show_default="utf-8, or what a byte order mark says",
    ),
]


def labelled_from(
    spam: Sequence[str] | None, ham: Sequence[str] | None, others: Sequence[str] | None
) -> list[tuple[str, str]]:
    """Pairs of a label and a path from --spam, --ham and --labelled. Raises UsageError."""
    pairs = [("spam", path) for path in spam or ()] + [("ham", path) for path in ham or ()]
    for given in others or ():
        label, _, path = (part.strip() for part in given.partition("="))
        if not label or not path:
            raise UsageError(
                f"--labelled {given} is not a label and a path.",
                "Write --labelled LABEL=PATH, such as --labelled invoices=invoices.mbox",
            )
        # No shell expands a tilde behind the sign.
        pairs.append((label, str(Path(path).expanduser())))
    return pairs
