"""A command that `torchrun` has started in several processes: it speaks with one voice.

The main process writes and prints. An error is told by the process that met it, or by the first of
those that did, and ends all of them.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from datetime import timedelta
from typing import Any

from spamgpt.errors import SpamgptError, ToldElsewhere, UsageError

# The commands that several processes can share.
_SHARED = ("finetune", "pretrain")
# What the processes leave in their store: who tells an error, and that it is told.
_TELLER, _TOLD = "spamgpt/teller", "spamgpt/told"
# Who has nothing to tell waits so long for who has, as torchrun ends all when one has ended.
_PATIENCE = timedelta(seconds=30)

# The store (torch.distributed.Store) and the rank, standard output and standard error.
_joined: list[tuple[Any, int, Any, Any]] = []


@contextmanager
def one_voice() -> Iterator[None]:
    """Within the block several processes are one command; alone, nothing is changed."""
    if "TORCHELASTIC_RUN_ID" not in os.environ or int(os.environ.get("WORLD_SIZE", 1)) < 2:
        yield
        return
    from spamgpt.training import distributed

    store = distributed.join()
    _joined.append((store, distributed.rank(), sys.stdout, sys.stderr))
    try:
        if distributed.is_main():
            yield
        else:
            with (
                open(os.devnull, "w") as nowhere,  # noqa: PTH123
                redirect_stdout(nowhere),
                redirect_stderr(nowhere),
            ):
                yield
    except SystemExit as end:
        if end.code:
            _end(store, distributed.rank())
        else:
            distributed.leave()
        raise


def check_command(name: str) -> None:
    """Raises UsageError for a command that several processes cannot share, if there are several."""
    if _joined and name not in _SHARED:
        raise UsageError(
            f"Several processes cannot share spamgpt {name}, only {' and '.join(_SHARED)}.",
            "Start it without torchrun.",
        )


@contextmanager
def telling(error: Exception) -> Iterator[bool]:
    """Whether it is for this process to tell an error; if so, it can be heard within the block."""
    if not _joined:
        yield True
        return
    store, rank, stdout, stderr = _joined[0]
    if isinstance(error, ToldElsewhere) or not _is_first(store, rank):
        yield False
        return
    if not isinstance(error, SpamgptError):
        from torch.distributed.elastic.multiprocessing.errors import get_error_handler

        # For the summary that torchrun shows at the end.
        get_error_handler().record_exception(error)
    with redirect_stdout(stdout), redirect_stderr(stderr):
        yield True


def _is_first(store: Any, rank: int) -> bool:
    try:
        return bool(store.compare_set(_TELLER, "", str(rank)) == str(rank).encode())
    except Exception:  # whatever torch raises where the store is gone, with torchrun itself
        return rank == 0


def _end(store: Any, rank: int) -> None:
    """Says that all is told, or waits until it is."""
    # As above.
    with suppress(Exception):
        # What no process claims to tell, such as a mistyped option, is the same in all of them.
        teller = int(store.get(_TELLER)) if store.check([_TELLER]) else 0
        if rank == teller:
            store.set(_TOLD, "")
        else:
            store.wait([_TOLD], _PATIENCE)
