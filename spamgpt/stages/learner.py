"""What `serve` does with corrections: it keeps them and, after so many, trains on them.

The training runs in a process of its own at the lowest priority, and the server goes on answering.
"""

import asyncio
import os
import signal
import threading
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from spamgpt.device import Device, keep_freed_memory
from spamgpt.errors import SpamgptError, as_user_error
from spamgpt.reporting import Reporter
from spamgpt.stages import learn
from spamgpt.workspace import Workspace

if TYPE_CHECKING:
    from spamgpt.serve.metrics import Metrics

# Seconds between two looks at the count, and at a training.
_LOOK_EVERY = 0.5
# Seconds after which a training that failed is tried again.
_TRY_AGAIN_AFTER = 600.0
# The lowest priority that there is: answers come first.
_NICE = 19


@dataclass(frozen=True)
class Outcome:
    """How a training ended, and in a sentence what came of it."""

    kind: Literal["taken", "kept_old", "nothing_new", "failed"]
    told: str


class Learner:
    """Keeps corrections and, after `count` of them, trains; without a count it only keeps them.

    One training runs at a time; what is taught meanwhile counts towards the next.
    """

    def __init__(
        self, count: int | None, workspace: Workspace, device: Device, reporter: Reporter
    ) -> None:
        from spamgpt.data.corrections import Corrections

        self._count = count
        self._workspace = workspace
        self._device = device
        self._reporter = reporter
        self._corrections = Corrections(workspace)
        self._changing = threading.Lock()
        self.untrained = _untrained(workspace) if count else 0

    def teach(self, text: str, label: str | None) -> None:
        """Records a correction, or forgets it (None). Raises as `Corrections.change`."""
        changes = self._corrections.change([(text, label)])
        with self._changing:
            self.untrained += changes.new + changes.relabelled + changes.forgotten

    async def run(self, metrics: "Metrics") -> None:
        """Trains whenever it is time, until it is cancelled."""
        if self._count is None:
            return
        metrics.untrained.set_function(lambda: self.untrained)
        while True:
            await asyncio.sleep(_LOOK_EVERY)
            if self.untrained < self._count:
                continue
            with self._changing:
                begun_with, self.untrained = self.untrained, 0
            self._reporter.note("Training on the corrections begins.")
            outcome = await trained(self._workspace.root, self._device)
            metrics.trainings.labels(outcome.kind).inc()
            say = self._reporter.warn if outcome.kind == "failed" else self._reporter.note
            say(outcome.told)
            if outcome.kind == "failed":
                with self._changing:
                    self.untrained += begun_with
                await asyncio.sleep(_TRY_AGAIN_AFTER)


def _untrained(workspace: Workspace) -> int:
    """About how many corrections the newest classifier was not trained on, whoever trained it.

    The prepared data that it was trained on says what it took in.
    """
    from spamgpt.data.corrections import Corrections

    corrections = Corrections(workspace)
    count = len(corrections)
    if count:
        # Of one that was imported, and of damaged data, nothing is known.
        with suppress(SpamgptError):
            prepared = workspace.input_of(workspace.newest("classifiers"), "prepared")
            if taken_in := prepared.metadata.get("corrections"):
                same = taken_in["digest"] == corrections.digest
                return 0 if same else max(1, count - int(taken_in["taken"]))
    return count


async def trained(root: Path, device: Device) -> Outcome:
    """Trains on the corrections of a workspace in another process, which ends with this call."""
    # Not forked: threads compute here, and locks that they hold would stay locked there.
    context = get_context("spawn")
    receiving, sending = context.Pipe(duplex=False)
    process = context.Process(target=_train, args=(root, device, sending), daemon=True)
    try:
        process.start()
    except OSError as error:
        return Outcome("failed", f"The training could not begin: {error.strerror}.")
    finally:
        sending.close()
    try:
        while not receiving.poll():
            await asyncio.sleep(_LOOK_EVERY)
        found = receiving.recv()
        assert isinstance(found, Outcome)
        return found
    except EOFError:
        process.join()
        return Outcome("failed", f"The training ended with status {process.exitcode}.")
    finally:
        receiving.close()
        # It saves a checkpoint, from which the next training goes on.
        process.terminate()
        process.join()


def _train(root: Path, device: Device, outcome: Connection) -> None:
    """What the other process does."""
    # Ctrl-C in a terminal reaches it, too; the server ends it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(_NICE)
    keep_freed_memory()
    with suppress(BrokenPipeError):  # the server is gone
        outcome.send(outcome_of(root, device))


def outcome_of(root: Path, device: Device) -> Outcome:
    """Trains on the corrections of a workspace, in this process, and says what came of it."""
    try:
        learnt = learn.run(learn.LearnSettings(device=device), Workspace(root))
    except Exception as error:
        return Outcome("failed", f"The training failed: {as_user_error(error).message}")
    if learnt is None:
        return Outcome("nothing_new", "The classifier in use has learnt all corrections already.")
    if learnt.classifier is None:
        return Outcome(
            "kept_old", f"{learnt.before.reference} stays in use. {learnt.reason or ''}".rstrip()
        )
    right = learnt.corrections
    return Outcome(
        "taken",
        f"{learnt.classifier.reference} was trained from {learnt.before.reference}: "
        f"{right.right_after:,} of {right.messages:,} corrections right, before "
        f"{right.right_before:,}.",
    )
