"""What spamgpt survives: kills, fuzzed inputs, bad disks, clocks, rivals, networks, long streams.

python -m benchmarks faults does it all and prints a table of each part; python -m benchmarks faults
kills disks does these parts. Only what was really done is counted. Ctrl-C prints what there is.
"""

import argparse
import os
import shlex
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

PARTS = ("kills", "fuzzing", "disks", "outputs", "clocks", "rivals", "networks", "streams")
_INTRODUCTION = """
# What spamgpt survives

Written by `python -m benchmarks faults --write docs/faults.md`. *Lost* counts artifacts,
corrections and results that were gone or other than they should be; *tracebacks*, also errors that
nobody foresaw; *unanswered*, what got neither an answer nor one line of error; *hung*, what did not
end in time. [SECURITY.md](../SECURITY.md) says what is promised besides.
"""
# Seconds between two lines that tell how far it is.
_TELL_EVERY = 10.0


def main() -> None:
    """Tries what it is asked to; status 1 if anything went wrong."""
    options = _options()
    if "fuzzing" in options.parts and not find_spec("atheris"):
        sys.exit(
            "error: Fuzzing takes atheris, which is not here.\n"
            " hint: pip install 'spamgpt[fuzz]', or name the other parts."
        )
    # A fork must have no threads but its own: of each library one computes.
    os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "COLUMNS": "80"}
    os.environ.pop("SPAMGPT_WORKSPACE", None)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    from benchmarks.faults import (
        clocks,
        commands,
        disks,
        fuzzing,
        kills,
        networks,
        outputs,
        rivals,
        streams,
    )
    from benchmarks.faults.states import States
    from benchmarks.faults.tally import Tally, write_page
    from benchmarks.world import machine

    parts: dict[str, tuple[ModuleType, str, tuple[Any, ...]]] = {
        "kills": (kills, "killed while it ran", (options.kills, options.seed)),
        "fuzzing": (fuzzing, "format", (options.inputs, options.seed)),
        "disks": (disks, "disk", (options.times, options.seed)),
        "outputs": (outputs, "stream", (options.times,)),
        "clocks": (clocks, "command", (options.times,)),
        "rivals": (rivals, "command, twice", (options.times,)),
        "networks": (networks, "server", (options.times,)),
        "streams": (streams, "stream", (options.lines,)),
    }
    wrong, sections = 0, {}
    commands.import_all()
    with tempfile.TemporaryDirectory() as folder:
        states = States(Path(folder))
        for name in options.parts:
            part, what, arguments = parts[name]
            tally, began = Tally(what, part.PROMISE), time.monotonic()
            ended = False
            try:
                part.run(tally, states, *arguments, _progress(part.TITLE, tally))
                ended = True
            except KeyboardInterrupt:
                print(f"{part.TITLE}: interrupted", file=sys.stderr)
            took = f"Took {time.monotonic() - began:,.0f} s on {machine()}"
            asked = f"python -m benchmarks faults {shlex.join(sys.argv[1:])}".strip()
            tally.notes.append(f"{took} (`{asked}`).")
            print(f"## {part.TITLE}\n{tally.to_markdown()}\n", flush=True)
            wrong += tally.went_wrong
            if not ended:
                sys.exit(130)
            sections[part.TITLE] = tally.to_markdown()
            if options.write:
                write_page(options.write, sections, _INTRODUCTION)
    if wrong:
        sys.exit(1)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks faults", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of: {', '.join(PARTS)}")
    parser.add_argument("--kills", type=int, default=26, help="commands and servers to kill")
    parser.add_argument("--inputs", type=int, default=5_000, help="inputs to fuzz with")
    parser.add_argument("--times", type=int, default=1, help="for the other faults: of each")
    parser.add_argument("--lines", type=int, default=100_000, help="lines of the stream")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write", type=Path, metavar="PAGE", help="keep the tables in this page")
    options = parser.parse_args()
    options.parts = options.parts or list(PARTS)
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"no part: {', '.join(sorted(unknown))}")
    return options


def _progress(title: str, tally: Any) -> Callable[[], None]:
    """Tells now and then how far a part is."""
    began = shown = time.monotonic()

    def tell() -> None:
        nonlocal shown
        if time.monotonic() - shown > _TELL_EVERY:
            shown = time.monotonic()
            print(
                f"{title}: {tally.total['tried']:,} tried, {tally.went_wrong:,} went wrong, "
                f"{shown - began:,.0f} s",
                file=sys.stderr,
                flush=True,
            )

    return tell
