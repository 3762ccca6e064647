import sys
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from spamgpt.cli import main


@dataclass
class Result:
    status: int
    out: str
    err: str


@pytest.fixture
def spamgpt(monkeypatch, capfd) -> Callable[..., Result]:
    """Runs a command in this process, at 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")

    def run(*arguments: object) -> Result:
        monkeypatch.setattr(sys, "argv", ["spamgpt", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as caught:
            main()
        out, err = capfd.readouterr()
        return Result(int(caught.value.code or 0), out, err)

    return run
