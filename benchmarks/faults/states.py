"""Workspaces in which commands go wrong: made once, and copied for each try."""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from benchmarks.faults.commands import Done, check, start
from benchmarks.faults.tally import LOST, UNANSWERED, Tally
from spamgpt.data.corrections import Correction, Corrections
from spamgpt.workspace import Workspace

_CPU = ("--device", "cpu")
_PRETRAIN = (
    *("pretrain", "texts.txt", "--n-layer", 1, "--n-head", 2, "--n-embd", 16, "--n-positions", 64),
    *("--vocab-size", 300, "--batch-tokens", 512, "--tokens", 20_000, *_CPU),
)
_FINETUNE = ("finetune", "--unfreeze", "all", "--epochs", 8, *_CPU)
_DATA = ("--dataset", "messages.tsv", "--model", "tiny")

# The states of a workspace: not there; with an artifact of each kind; with runs that were killed;
# with corrections that no classifier has learnt.
EMPTY, WHOLE, HALF, TAUGHT = "empty", "whole", "half", "taught"


@dataclass(frozen=True)
class Plan:
    """A command, the state it is given in, and the kind of artifacts that it adds one to.

    `resume` goes on with a run of it that saved a checkpoint; without one, `fresh` begins again.
    """

    command: tuple[object, ...]
    state: str
    makes: str | None
    resume: tuple[object, ...] | None = None
    fresh: tuple[object, ...] | None = None

    def to_go_on(self, folder: Path) -> tuple[object, ...]:
        """The command that a user gives next, where this one ended too soon."""
        saved = (folder / "workspace" / "checkpoints").glob(f"{self.command[0]}-*/state.pt")
        return (self.resume if any(saved) else self.fresh) or self.command


PLANS = {
    "fetch": Plan(("fetch", *_DATA), EMPTY, "datasets"),
    "prepare": Plan(("prepare",), WHOLE, "prepared"),
    "finetune": Plan(_FINETUNE, WHOLE, "classifiers", ("finetune", "--resume")),
    "finetune --resume": Plan(("finetune", "--resume"), HALF, "classifiers", fresh=_FINETUNE),
    "evaluate": Plan(("evaluate",), WHOLE, "evaluations"),
    "predict --save": Plan(("predict", "--save", "texts.txt"), WHOLE, "predictions"),
    "run": Plan(("run", *_DATA, "--epochs", 2, *_CPU), EMPTY, "classifiers"),
    "pretrain": Plan(_PRETRAIN, EMPTY, "models", (*_PRETRAIN, "--resume")),
    "pretrain --resume": Plan((*_PRETRAIN, "--resume"), HALF, "models", fresh=_PRETRAIN),
    "learn --spam": Plan(("learn", "--spam", "missed.txt"), TAUGHT, None),
    "learn --train": Plan(("learn", "--train", *_CPU), TAUGHT, "classifiers"),
}


class States:
    """The states, and what each command makes of its one when it is left alone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._numbers = count()
        self._undisturbed: dict[str, tuple[float, str | None]] = {}
        self._make()

    def seconds(self, name: str) -> float:
        """How long a command takes."""
        return self._left_alone(name)[0]

    def digest(self, name: str) -> str | None:
        """That of what a command makes; of one that resumes a run, if that had not been killed."""
        return self._left_alone(name.removesuffix(" --resume"))[1]

    def _left_alone(self, name: str) -> tuple[float, str | None]:
        if name not in self._undisturbed:
            plan = PLANS[name]
            with self.copy(plan.state) as copy:
                began = time.monotonic()
                must(*plan.command, folder=copy)
                seconds = time.monotonic() - began
                self._undisturbed[name] = seconds, newest(copy, plan)
        return self._undisturbed[name]

    @contextmanager
    def copy(self, state: str, at: Path | None = None) -> Iterator[Path]:
        """A copy of a state, which is removed at the end."""
        copy = (at or self.folder) / f"copy-{next(self._numbers)}"
        shutil.copytree(self.folder / state, copy)
        try:
            yield copy
        finally:
            shutil.rmtree(copy, ignore_errors=True)

    def look_at(self, tally: Tally, row: str, folder: Path, plan: Plan) -> None:
        """Counts what a workspace has lost that it had in its state."""
        done = check(tally, row, start("artifacts", "--verify", folder=folder).done())
        if done.status:
            tally.wrong(row, LOST, done.err)
        before, after = found(self.folder / plan.state), found(folder)
        if gone := before - after:
            tally.wrong(row, LOST, ", ".join(map(str, sorted(map(str, gone)))))

    def go_on(self, tally: Tally, row: str, folder: Path, name: str, equal: bool = True) -> None:
        """Does again what was cut short, and counts if that fails or leaves anything lying about.

        With `equal` also if what comes of it is not as if it had not been disturbed.
        """
        plan = PLANS[name]
        for command in (plan.to_go_on(folder), ("predict", "texts.txt")):
            done = check(tally, row, start(*command, folder=folder).done())
            if done.status:
                tally.wrong(row, UNANSWERED, done.err)
                return
        if equal and newest(folder, plan) != self.digest(name):
            tally.wrong(row, LOST, f"{name} ends otherwise than if it had not been disturbed")
        if left := [str(path) for path in (folder / "workspace").glob("**/.draft-*")]:
            tally.wrong(row, LOST, f"the room of {', '.join(left)}")

    def _make(self) -> None:
        empty, whole = self.folder / EMPTY, self.folder / WHOLE
        empty.mkdir(parents=True)
        lines = [f"see you at {n % 12} on bus {n % 7}" for n in range(1500)]
        (empty / "texts.txt").write_text("\n".join(lines))
        rows = [f"ham\t{line}, {n}" for n, line in enumerate(lines[:100])]
        rows += [f"spam\tWIN a prize, call {n}" for n in range(60)]
        (empty / "messages.tsv").write_text("\n".join(rows))
        (empty / "missed.txt").write_text("\n".join(f"claim gift {n}" for n in range(50)))
        must(*_PRETRAIN, folder=empty)
        (empty / "workspace/models/pretrained/v1").rename(empty / "tiny")
        shutil.rmtree(empty / "workspace")
        shutil.copytree(empty, whole)
        save = ("predict", "--save", "missed.txt")
        for command in (("fetch", *_DATA), ("prepare",), _FINETUNE, ("evaluate",), save):
            must(*command, folder=whole)
        half = shutil.copytree(whole, self.folder / HALF)
        for stopped in (_FINETUNE, _PRETRAIN):
            running = start(*stopped, folder=half)
            saved = f"workspace/checkpoints/{stopped[0]}-*/state.pt"
            while not any(half.glob(saved)) and running.wait(0.005) is None:
                pass
            running.kill()
            if not any(half.glob(saved)):
                raise SystemExit(f"{stopped[0]} had ended before it could be killed")
        taught = shutil.copytree(whole, self.folder / TAUGHT)
        corrections = Corrections(Workspace(taught / "workspace"))
        corrections.change([(f"gift number {n}", "spam") for n in range(20)])


def found(folder: Path) -> set[tuple[str, str] | Correction]:
    """What a workspace holds: its artifacts with their digests, and its corrections."""
    workspace = Workspace(folder / "workspace")
    artifacts = {(each.reference, each.digest) for each in workspace.artifacts()}
    return artifacts | set(Corrections(workspace))


def newest(folder: Path, plan: Plan) -> str | None:
    """The digest of the newest artifact of the kind that a command makes; else of corrections."""
    workspace = Workspace(folder / "workspace")
    if plan.makes is None:
        return Corrections(workspace).digest
    return workspace.newest(plan.makes).digest


def must(*command: object, folder: Path) -> Done:
    """Runs a command that nothing disturbs."""
    done = start(*command, folder=folder).done()
    if done.status:
        raise SystemExit(f"spamgpt {' '.join(map(str, command))}: {done.err}")
    return done
