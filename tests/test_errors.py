import errno

import pytest
import torch

from spamgpt import errors
from spamgpt.gpt2.config import ModelFormatError


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (errors.UsageError("m", "h"), 2, "m"),
        (errors.MissingInputError("m", "h"), 3, "m"),
        (errors.BadDataError("m", "h"), 4, "m"),
        (errors.NetworkError("m", "h"), 5, "m"),
        (errors.IntegrityError("m", "h"), 5, "m"),
        (errors.Interrupted("m", "h"), 130, "m"),
        (ModelFormatError("n_embd is missing"), 4, "n_embd is missing"),
        (FileNotFoundError(errno.ENOENT, "No such file", "a.csv"), 3, "a.csv"),
        (PermissionError(errno.EACCES, "Permission denied", "a.csv"), 3, "a.csv"),
        (OSError(errno.ENOSPC, "No space left", "a.csv"), 1, "disk is full while writing a.csv"),
        (OSError(errno.EDQUOT, "Quota", "a.csv"), 1, "quota is exceeded while writing a.csv"),
        (Exception("File too large (os error 27)"), 1, "A file may not become that large"),
        (MemoryError(), 1, "not enough memory"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB."), 1, "not enough memory"),
        (RuntimeError("MPS backend out of memory"), 1, "not enough memory"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED"), 1, "not enough memory"),
        (RuntimeError("[enforce fail] can't allocate memory"), 1, "not enough memory"),
        (torch.OutOfMemoryError("no more"), 1, "not enough memory"),
        (RuntimeError("shapes cannot be multiplied"), 1, "Unexpected RuntimeError"),
        (ZeroDivisionError("by zero"), 1, "ZeroDivisionError: by zero"),
    ],
)
def test_every_exception_becomes_a_message_a_hint_and_a_status(error, status, words):
    shown = errors.as_user_error(error)
    assert shown.exit_status == status
    assert words in shown.message
    assert shown.hint


@pytest.mark.parametrize(
    ("processes", "words"), [(None, "Unexpected RuntimeError"), ("2", "Another of the processes")]
)
def test_only_one_of_several_processes_blames_another(monkeypatch, processes, words):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    if processes:
        monkeypatch.setenv("WORLD_SIZE", processes)
    shown = errors.as_user_error(RuntimeError("Connection reset by peer"))
    assert words in shown.message
