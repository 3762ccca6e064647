"""`python -m spamgpt` and the command `spamgpt`: begins before anything slow is imported."""

import signal


def main() -> None:
    """Runs the command line; ends with SystemExit."""
    # While modules are imported, and when all is done, Ctrl-C just ends the process: nobody is
    # there yet to catch Python's KeyboardInterrupt. Who has turned Ctrl-C off keeps it so.
    interruptible = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if interruptible:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from spamgpt.cli import main as run

    if interruptible:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        run()
    finally:
        if interruptible:
            signal.signal(signal.SIGINT, signal.SIG_DFL)


if __name__ == "__main__":
    main()
