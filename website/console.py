"""The commands that the documents show: run in order, each page in a folder of its own.

`python -m website console` runs them and writes what they answer into the pages. A block marked
`console` has commands behind `$` and what they print; blocks marked `shell` have commands alone, of
which those of spamgpt are parsed (`unknown_options`), since they need a network or a mail server.
"""

import os
import re
import shlex
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
# Times, dates and rates differ from run to run.
_PASSING = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d|\d[\d,.]* messages/s")


@dataclass(frozen=True)
class Shown:
    """A command, and what the page says that it prints."""

    command: str
    output: str


def shown(page: str) -> list[Shown]:
    """What the console blocks of a page show, in order."""
    found = []
    for kind, content in _BLOCK.findall(page):
        if kind == "console":
            for piece in re.split(r"^\$ ", content, flags=re.MULTILINE)[1:]:
                lines = piece.splitlines(keepends=True)
                # A command goes on behind a backslash.
                end = next(n for n, line in enumerate(lines, 1) if not line.endswith("\\\n"))
                found.append(Shown("".join(lines[:end]).rstrip("\n"), "".join(lines[end:])))
    return found


def run(page: Path) -> list[tuple[Shown, str]]:
    """Runs the commands of a page and returns what each prints. Raises CalledProcessError."""
    with tempfile.TemporaryDirectory() as name:
        folder, programs = Path(name) / "here", Path(name) / "programs"
        folder.mkdir()
        programs.mkdir()
        for program, options in (("spamgpt", "-m spamgpt"), ("python", "")):
            script = f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {options} "$@"\n'
            (programs / program).write_text(script)
            (programs / program).chmod(0o755)
        # Data that a page refers to stands beside it.
        for file in page.parent.glob("*.csv"):
            (folder / file.name).write_bytes(file.read_bytes())
        environment = os.environ | {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "COLUMNS": "80",
        }
        environment.pop("SPAMGPT_WORKSPACE", None)
        answers = []
        for each in shown(page.read_text(encoding="utf-8")):
            done = subprocess.run(
                ["bash", "-o", "pipefail", "-c", each.command],
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            if done.returncode:
                print(done.stdout, file=sys.stderr)
                done.check_returncode()
            # How far a slow machine has come is of no interest.
            lines = re.sub(r"^.* to go\n", "", done.stdout, flags=re.MULTILINE).splitlines()
            answers.append((each, "".join(f"{line.rstrip()}\n" for line in lines)))
        return answers


def rewrite() -> None:
    """Writes what the commands print into the pages."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        if shown(text):
            print(page.relative_to(ROOT), flush=True)
            page.write_text(with_answers(text, run(page)), encoding="utf-8")


def with_answers(page: str, answers: list[tuple[Shown, str]]) -> str:
    """A page with what its commands print now."""
    coming = iter(answers)

    def block(found: re.Match[str]) -> str:
        if found[1] != "console":
            return found[0]
        pieces = []
        for each in shown(found[0]):
            printed = abridged(next(coming)[1], each.output).strip("\n")
            pieces.append(f"$ {each.command}\n" + (f"{printed}\n" if printed else ""))
        # An empty line stands after what was printed, none between commands that print nothing.
        content = "".join(
            piece + ("\n" if piece.count("\n") > 1 and piece is not pieces[-1] else "")
            for piece in pieces
        )
        return f"```console\n{content}```"

    return _BLOCK.sub(block, page)


def abridged(printed: str, output: str) -> str:
    """What a command prints, without the lines that the page leaves out, where it says `...`.

    Raises ValueError if the others are no longer there in that order.
    """
    if "..." not in output.splitlines():
        same = _PASSING.sub("", printed).split() == _PASSING.sub("", output).split()
        return output if same else printed
    lines, kept = iter(printed.splitlines()), []
    for line in output.splitlines():
        found: str | None = "..." if line == "..." else line.strip()
        if found and found != "...":
            found = next((each for each in lines if words(each) == words(line)), None)
        if found is None:
            raise ValueError(f"no longer printed: {line}")
        kept.append(found)
    return "\n".join(kept)


def words(text: str) -> list[str]:
    """A text without its numbers, which another processor rounds otherwise, and their spacing."""
    return re.sub(r"[\d.,:%()|-]+", " ", _PASSING.sub("", text)).split()


def unknown_options(page: str) -> list[str]:
    """The commands of spamgpt that a page shows and that it would not accept, with the reason."""
    import typer.main

    from spamgpt.cli import app

    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    refused = []
    for kind, content in _BLOCK.findall(page):
        if kind not in ("", "console", "shell"):
            continue
        lines = content.replace("\\\n", " ").splitlines()
        if not kind:
            # A block of whatever else may show a command, as a recipe of procmail does.
            lines = [line.lstrip("|: ") for line in lines if re.match(r"[|: ]*spamgpt ", line)]
        if kind == "console":
            lines = [each.command for each in shown(f"```console\n{content}```")]
        for line in lines:
            for name, *arguments in _simple_commands(line):
                if name != "spamgpt" or not arguments:
                    continue
                try:
                    commands[arguments[0]].make_context(arguments[0], arguments[1:]).close()
                except Exception as problem:
                    refused.append(f"{line}: {problem!r}")
    return refused


def _simple_commands(line: str) -> list[list[str]]:
    """The commands of a line for the shell, without what joins and redirects them."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    commands: list[list[str]] = [[]]
    for token in lexer:
        if set(token) <= set("|&;<>()"):
            commands.append([])
        else:
            commands[-1].append(token)
    return [command for command in commands if command]
