"""Every error that a user can meet: what is wrong, what to do, and the exit status."""

import errno
import os
import re

from spamgpt.addresses import without_secrets
from spamgpt.gpt2.config import ModelFormatError


class SpamgptError(Exception):
    """An error with one line for the user and one hint; `exit_status` is the command's.

    Neither tells the secrets of an address, whoever wrote them.
    """

    exit_status = 1

    def __init__(self, message: str, hint: str) -> None:
        self.message = without_secrets(message)
        self.hint = without_secrets(hint)
        super().__init__(self.message, self.hint)

    def __str__(self) -> str:
        return self.message


class UsageError(SpamgptError):
    """The command was given options that do not go together or do not exist."""

    exit_status = 2


class MissingInputError(SpamgptError):
    """An input is missing or cannot be read; the hint names the command that makes it."""

    exit_status = 3


class BadDataError(SpamgptError):
    """An input can be read but does not hold what it should."""

    exit_status = 4


class NetworkError(SpamgptError):
    """Something could not be downloaded."""

    exit_status = 5


class IntegrityError(SpamgptError):
    """A file is not what was published or recorded."""

    exit_status = 5


class Interrupted(SpamgptError):
    """The user stopped a command that has something to say about it."""

    exit_status = 130


class ToldElsewhere(SpamgptError):
    """Another of the processes that train together has failed and tells why."""

    def __init__(self) -> None:
        super().__init__("Another of the processes failed.", "It says why.")


def as_user_error(error: Exception) -> SpamgptError:
    """The error to show for any exception; an unforeseen one asks for a report."""
    if isinstance(error, SpamgptError):
        return error
    if isinstance(error, ModelFormatError):
        return BadDataError(str(error), "Fetch a GPT-2 in the Hugging Face layout.")
    number = _system_error(error)
    if number in _FULL:
        filename = getattr(error, "filename", None)
        where = f" while writing {filename}" if filename else ""
        hint = "Free some space and run the command again."
        return SpamgptError(f"{_FULL[number]}{where}.", hint)
    if isinstance(error, OSError) and error.filename:
        return MissingInputError(
            f"{error.strerror}: {error.filename}", "Check the path and its permissions."
        )
    if _is_lost_process(error):
        return SpamgptError(
            "Another of the processes that train together has ended.",
            "Run the command again with `resume`; torchrun can do so by itself (its max-restarts).",
        )
    if is_out_of_memory(error):
        return SpamgptError(
            "There is not enough memory.",
            "Use a smaller model, a lower `batch_size` or `max_batch_tokens`, or `device=cpu`.",
        )
    return SpamgptError(
        f"Unexpected {type(error).__name__}: {error}",
        "Run the command again with `debug=True` and report the traceback it shows.",
    )


# That nothing more can be written: to the disk, of a user's share of it, to a file.
_FULL = {
    errno.ENOSPC: "The disk is full",
    errno.EDQUOT: "The disk quota is exceeded",
    errno.EFBIG: "A file may not become that large",
}


def _system_error(error: Exception) -> int | None:
    """The `errno` of an error, also of a library written in Rust, which has it in words only."""
    if isinstance(error, OSError):
        return error.errno
    told = re.search(r"\(os error (\d+)\)", str(error))
    return int(told[1]) if told else None


# How torch and the libraries under it tell that memory ran out where they have no error for it: of
# a GPU, of Apple's, of the machine, and of what matrix products need besides.
_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory", "ALLOC_FAILED")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that the memory of the machine or of a GPU did not suffice."""
    # By its name: who has no torch loaded should not load it to look at an error.
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _OUT_OF_MEMORY)


# How gloo, NCCL and the store of torch.distributed tell that a process is no longer there.
_LOST = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "remote process")


def _is_lost_process(error: BaseException) -> bool:
    """Whether an error means that one of the processes that train together has ended."""
    if type(error).__name__ in ("DistBackendError", "DistNetworkError"):
        return True
    # Set by whoever starts several; a process alone may hear the same of a server or a pipe.
    several = int(os.environ.get("WORLD_SIZE", 1)) > 1
    return several and isinstance(error, RuntimeError) and any(t in str(error) for t in _LOST)
