"""The process that is fuzzed: `python -m benchmarks.faults.fuzzed INPUTS SEED WORKSPACE FOLDER`.

It imports no reader before atheris can instrument them.
"""

import io
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.faults.tally import HUNG, TRACEBACKS, UNANSWERED, Tally

FORMATS = ("auto", "lines", "tsv", "csv", "jsonl", "mbox", "eml")
# What the readers look for, so that chance finds it.
TOKENS = [
    b"\n", b"\r\n", b"\r", b'"', b'""', b",", b"\t", b"text", b"label,text\n", b"text\n", b"{",
    b'{"text": "hi"}\n', b'{"text": null}\n', b'{"text": NaN, "n": -Infinity}\n', b"[" * 50,
    b'{"text": "\\ud800"}\n', b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf", b"\0", b"\xe9",
    b"From a@b\n", b"}",
    b"From a Mon Nov 23 08:00:00 2026\n", b"Subject: =?utf-8?q?hi?=", b"=?x?b?", b"?=", b" ",
    b"x" * 300,
    b"Content-Type: multipart/mixed; boundary=b\n\n", b"--b\n", b"--b--\n", b"<p>", b"<!--", b"&#",
    b"Content-Transfer-Encoding: base64\n\n", b"Content-Type: text/html; charset=utf-16\n\n",
]  # fmt: skip
_SEEDS = (
    b"label\ttext\nham\tsee you\n",
    b'text,n\n"see\nyou",1\n',
    b'{"text": "see you", "n": [1, null]}\n',
    b"From a@b Mon Nov 23 08:00:00 2026\nSubject: hi\n\nsee you\n\nFrom a@b\nTo: c@d\n\nbye\n",
    b"Subject: =?utf-8?b?V0lO?= a =?latin-1?q?pri=7ae?=\nMIME-Version: 1.0\nContent-Type: "
    b"multipart/alternative; boundary=b\n\n--b\nContent-Type: text/plain; charset=utf-8\n\nWIN\n"
    b"--b\nContent-Type: text/html; charset=utf-16\nContent-Transfer-Encoding: base64\n\n"
    b"PGI+V0lOPC9iPg==\n--b--\n",
)
# Seconds that an input may take; its bytes; MB of memory that all may take.
SLOWEST = 10.0
_LARGEST, _MEMORY = 2000, 2000
_TOLD_EVERY = 1000


class Fuzzed:
    """Reads and classifies inputs, and counts what becomes of them."""

    def __init__(self, read: Callable[..., Any], predict: Callable[[list[str]], Sequence[Any]]):
        self._read, self._predict = read, predict
        self._tally = Tally("format", "")
        self._began = time.monotonic()
        self._waiting: list[str] = []
        self._slowest = 0.0
        self._messages = self._inputs = 0

    def one(self, data: bytes) -> None:
        """Takes one input, whose first byte says in which format."""
        format = FORMATS[data[0] % len(FORMATS)] if data else FORMATS[0]
        self._tally.tried(format)
        self._inputs += 1
        began = time.monotonic()
        try:
            self._take(format, data[1:])
        except Exception as error:
            self._tally.wrong(format, TRACEBACKS, f"{type(error).__name__}: {error}: {data!r}")
        seconds = time.monotonic() - began
        self._slowest = max(self._slowest, seconds)
        if seconds > SLOWEST:
            self._tally.wrong(format, HUNG, repr(data))

    def _take(self, format: str, data: bytes) -> None:
        from spamgpt.data.inputs import Limits
        from spamgpt.data.json_values import json_text
        from spamgpt.errors import SpamgptError

        limits = Limits(message_size=400, whole=True, strict=False)
        answers = 0
        try:
            for message in self._read("in", io.BytesIO(data), format, limits=limits):
                answers += 1
                error = message.row.error
                if error is None:
                    text = json_text({"text": message.text, **message.others})
                    json.loads(text, parse_constant=_no)
                    self._waiting.append(message.text)
                elif "\n" in error.message:
                    self._tally.wrong(format, UNANSWERED, f"{error.message!r}: {data!r}")
        except SpamgptError as error:
            answers += 1
            if "\n" in error.message:
                self._tally.wrong(format, UNANSWERED, f"{error.message!r}: {data!r}")
        self._messages += answers
        if answers < least_answers(format, data):
            self._tally.wrong(format, UNANSWERED, repr(data))
        if len(self._waiting) >= 256:
            texts, self._waiting = self._waiting, []
            if len(self._predict(texts)) != len(texts):
                self._tally.wrong(format, UNANSWERED, repr(texts))

    def told(self) -> str:
        """What was counted, for the process that asked for it."""
        seconds = time.monotonic() - self._began
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        note = (
            f"{self._messages:,} records were read, {self._inputs / seconds:,.0f} inputs a second. "
            f"The slowest input took {1000 * self._slowest:.0f} ms; the process held at most "
            f"{memory:,.0f} MiB."
        )
        return json.dumps({"rows": self._tally.rows, "notes": [note]})


def least_answers(format: str, data: bytes) -> int:
    """How many answers and errors an input has to get at least."""
    if format == "eml":
        return 1
    wide = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    text = data.decode("utf-16" if wide and format != "mbox" else "utf-8", "replace")
    lines = [line for line in text.split("\n") if line.strip("\ufeff\0 \t\r\v\f")]
    if format == "jsonl" and data.isascii():
        return len(lines)
    if format in ("auto", "csv", "tsv"):
        # A table may be nothing but its header, which may have quoted line breaks.
        return int(len(lines) > 1 and '"' not in text)
    return int(bool(lines))


def _no(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def main() -> None:
    """Fuzzes: number of inputs, seed, workspace with a classifier, folder for the inputs."""
    inputs, seed = map(int, sys.argv[1:3])
    workspace, corpus = map(Path, sys.argv[3:])
    import atheris

    with atheris.instrument_imports(include=["spamgpt.data"]):
        from spamgpt.data.inputs import read_messages
    import torch

    from spamgpt import SpamClassifier
    from spamgpt.classifier.predictor import Predictor

    torch.set_num_threads(1)
    fuzzed = Fuzzed(read_messages, Predictor(SpamClassifier.from_pretrained(workspace)).predict)
    for number, seeded in enumerate(_SEEDS * len(FORMATS)):
        format = bytes([number // len(_SEEDS)])
        (corpus / f"seed-{number}").write_bytes(format + seeded)
    words = corpus.with_name("words")
    words.write_text(
        "".join('"' + "".join(f"\\x{byte:02x}" for byte in token[:64]) + '"\n' for token in TOKENS)
    )
    count = 0

    def one(data: bytes) -> None:
        nonlocal count
        count += 1
        fuzzed.one(data)
        if count % _TOLD_EVERY == 0 or count == inputs:
            print(fuzzed.told(), flush=True)
        if count == inputs:
            os._exit(0)

    options = {
        "runs": inputs, "seed": seed, "max_len": _LARGEST, "dict": words, "timeout": 60,
        "rss_limit_mb": _MEMORY, "len_control": 0, "artifact_prefix": f"{corpus}/",
    }  # fmt: skip
    atheris.Setup([sys.argv[0], *(f"-{k}={v}" for k, v in options.items()), str(corpus)], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
