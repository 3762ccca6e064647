"""What the benchmarks share: a random gpt2, messages, commands that are timed."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from spamgpt.bundled import MINI_FOLDER
from spamgpt.data.tables import read_labelled_file
from spamgpt.device import Precision, resolve_precision
from spamgpt.errors import UsageError
from spamgpt.gpt2.config import GPT2Config
from spamgpt.gpt2.folder import CONFIG_FILE, TOKENIZER_FILES, WEIGHTS_FILE
from spamgpt.gpt2.weights import random_weights, write_weights
from spamgpt.workspace import Workspace

GPT2_SHAPE = GPT2Config(n_layer=12, n_head=12, n_embd=768)


@dataclass(frozen=True)
class World:
    """A folder to work in, a model folder of gpt2's shape in it, and labelled messages."""

    folder: Path
    messages: Path

    @property
    def model(self) -> Path:
        """The folder of the model."""
        return self.folder / "gpt2-random"

    @property
    def texts(self) -> list[str]:
        """The messages without their labels."""
        return list(read_labelled_file(self.messages)["text"])

    def make_model(self, tokenizer: Path | None) -> None:
        """Random weights, and the tokenizer of a folder (mini's, unless told)."""
        self.model.mkdir()
        write_weights(random_weights(GPT2_SHAPE, seed=1), self.model / WEIGHTS_FILE)
        (self.model / CONFIG_FILE).write_text(json.dumps(GPT2_SHAPE.to_dict()))
        for name in TOKENIZER_FILES:
            (self.model / name).write_bytes(((tokenizer or MINI_FOLDER) / name).read_bytes())

    def make_classifier(self) -> None:
        """A classifier of the model, trained hardly at all: what it answers does not matter."""
        if not Workspace(self.folder / "workspace").folders("classifiers"):
            spamgpt("fetch", "--dataset", self.messages, "--model", self.model, folder=self.folder)
            spamgpt("prepare", "--balance", folder=self.folder)
            spamgpt("finetune", "--epochs", 1, folder=self.folder)

    def write_lines(self, count: int, length: int | None = None) -> Path:
        """A file of so many different lines, made of the messages; `length` words in each."""
        words = " ".join(self.texts).split()
        texts = [" ".join(text.split()) for text in self.texts]
        path = self.folder / f"lines-{count}-{length}.txt"
        with path.open("w", encoding="utf-8") as file:
            for number in range(count):
                if length is None:
                    text = texts[number % len(texts)]
                else:
                    start = number * 7 % (len(words) - length)
                    text = " ".join(words[start : start + length])
                # Identical messages are scored once: the number makes them differ.
                file.write(f"{text} {number}\n")
        return path


@dataclass(frozen=True)
class Run:
    """What a command took, and what it wrote on standard output."""

    seconds: float
    peak_bytes: int
    out: str


def command(*arguments: object, folder: Path, stdin: Path | None = None) -> Run:
    """Runs a command line in a folder; raises with what it said if it fails."""
    # A child's peak can only be told from those before it by a parent of its own.
    program = (
        "import json, resource, subprocess, sys, time; t = time.perf_counter(); "
        "done = subprocess.run(sys.argv[1:], capture_output=True, text=True); "
        "s = time.perf_counter() - t; "
        "m = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024; "
        "print(json.dumps([s, m, done.returncode, done.stdout, done.stderr]))"
    )
    with (stdin or Path(os.devnull)).open("rb") as source:
        done = subprocess.run(
            [sys.executable, "-c", program, *map(str, arguments)],
            stdin=source,
            stdout=subprocess.PIPE,
            cwd=folder,
            check=True,
            text=True,
        )
    seconds, peak, status, out, err = json.loads(done.stdout)
    if status:
        raise RuntimeError(f"{' '.join(map(str, arguments))} ended with {status}: {err}")
    return Run(seconds, peak, out)


def spamgpt(*arguments: object, folder: Path, stdin: Path | None = None) -> Run:
    """Runs the installed spamgpt with these arguments, as `command` does."""
    executable = Path(sys.executable).with_name("spamgpt")
    return command(executable, *arguments, folder=folder, stdin=stdin)


def fastest(times: int, run: Callable[[], object]) -> float:
    """The fewest seconds of several calls: what disturbs a machine only adds."""
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        run()
        taken.append(time.perf_counter() - started)
    return min(taken)


def precisions() -> list[Precision]:
    """Those that prediction offers on this machine."""
    offered: list[Precision] = ["fp32", "bf16"]
    try:
        resolve_precision("int8", torch.device("cpu"))
    except UsageError:
        return offered
    return [*offered, "int8"]


def machine() -> str:
    """The processor and what of it is used."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else 'unknown processor'}, {torch.get_num_threads()} threads"


def pad(token_ids: Sequence[Sequence[int]], length: int, with_id: int) -> torch.Tensor:
    """(messages, length): cut and padded on the right."""
    return torch.tensor([[*ids[:length], *[with_id] * (length - len(ids))] for ids in token_ids])
