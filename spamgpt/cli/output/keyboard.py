"""What a command says when it waits for messages to be typed."""

import sys


def tell_of_keyboard(quiet: bool) -> None:
    """Says so if standard input is a terminal, unless the command is to be quiet."""
    if sys.stdin is not None and sys.stdin.isatty() and not quiet:
        print("Reading messages from the keyboard, one per line; Ctrl-D ends.", file=sys.stderr)
