"""How an error is shown: what is wrong, what to do and, if asked for, where it happened."""

import sys
import traceback

from spamgpt.addresses import without_secrets
from spamgpt.cli.output.streams import give_up_stdout, print_error_object
from spamgpt.errors import SpamgptError


def show_error(error: SpamgptError, status: int, json: bool, debug: bool) -> None:
    """Shows the error under way: a line and a hint, as an object with `json`, and with `debug` all.

    Where standard output cannot be written, that is the error that is shown.
    """
    if debug:
        print(without_secrets(traceback.format_exc()), end="", file=sys.stderr)
    from spamgpt.cli.output.screen import stderr_console
    from spamgpt.cli.output.wording import in_options
    from spamgpt.printable import printable

    message, hint = (printable(in_options(text)) for text in (error.message, error.hint))
    console = stderr_console()
    for name, style, text in (("error:", "bold red", message), (" hint:", "bold", hint)):
        console.print(name, style=style, end=" ")
        console.print(text, markup=False, highlight=False, soft_wrap=True)
    if json:
        print_error_object(message, hint, status)
    try:
        sys.stdout.flush()
    except OSError:  # what cannot be written is the error that was shown
        give_up_stdout()
