"""Small worlds for the tests: a model folder with its own tokenizer, and messages to learn from."""

import json
import os
import random
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

if TYPE_CHECKING:
    from benchmarks.browser import Browser

# No test may reach for the Hub by accident; those of the download code set their own servers.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.pop("SPAMGPT_WORKSPACE", None)

# Models as small as those of the tests get slower by threads, and several processes many times so:
# threads that wait for each other keep the processors busy.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Ctrl-C works in the tests, and in the commands they run, also where a shell that started them in
# the background has turned it off; so does a terminal that closes, also under nohup.
signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

# A loaded machine is no failure.
hypothesis.settings.register_profile("unhurried", deadline=None)
hypothesis.settings.load_profile("unhurried")

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"


def _shared(name: str) -> Path:
    path = SHARED_DATA / name
    if not path.exists():
        pytest.skip(f"the real {name} is not beside this checkout (../shared/data)")
    return path


@pytest.fixture(scope="session")
def sms_collection() -> Path:
    """The real SMSSpamCollection."""
    return _shared("sms-spam-collection") / "SMSSpamCollection"


@pytest.fixture(scope="session")
def gpt2_tokenizer_folder() -> Path:
    """The real vocab.json and merges.txt."""
    return _shared("gpt2-tokenizer")


MakeModel = Callable[..., Path]


@pytest.fixture
def make_model(tmp_path: Path) -> MakeModel:
    """Makes a model folder: a small GPT-2 with a byte-level vocabulary of 262 tokens."""

    def make(name: str = "tiny", weights: bool = True, **shape: int) -> Path:
        return write_model(tmp_path / name, weights, **shape)

    return make


def write_model(folder: Path, weights: bool = True, **shape: int) -> Path:
    folder.mkdir(parents=True)
    config = {"n_layer": 2, "n_head": 2, "n_embd": 32, "n_positions": 64, "vocab_size": 262} | shape
    (folder / "config.json").write_text(json.dumps({"model_type": "gpt2", **config}))
    write_tokenizer(folder)
    if weights:
        from spamgpt.gpt2.config import GPT2Config
        from spamgpt.gpt2.weights import random_weights, write_weights

        tensors = random_weights(GPT2Config.from_dict(config), seed=1)
        write_weights(tensors, folder / "model.safetensors")
    return folder


def write_tokenizer(folder: Path) -> None:
    """256 bytes, five merges and the end-of-text token, in GPT-2's file formats."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = 256 - len(printable)
    characters = [*map(chr, printable), *(chr(256 + index) for index in range(others))]
    merges = [("e", "e"), ("Ġ", "f"), ("p", "r"), ("Ġf", "r"), ("Ġfr", "ee")]
    tokens = [*characters, *("".join(pair) for pair in merges), "<|endoftext|>"]
    (folder / "vocab.json").write_text(
        json.dumps({token: index for index, token in enumerate(tokens)}), encoding="utf-8"
    )
    (folder / "merges.txt").write_text(
        "#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges), encoding="utf-8"
    )


def some_messages(count: int = 120, seed: int = 5) -> list[tuple[str, str]]:
    """Distinct labelled messages that a tiny model learns to tell apart, a third of them spam."""
    draw = random.Random(seed)
    openings = {
        "spam": ["WIN a FREE", "Claim your FREE", "URGENT free"],
        "ham": ["see you", "ok", "im"],
    }
    endings = {
        "spam": ["prize now!!", "gift, call", "entry to win"],
        "ham": ["at home", "later", "then"],
    }
    messages = []
    for number in range(count):
        label = "spam" if number % 3 == 0 else "ham"
        opening, ending = draw.choice(openings[label]), draw.choice(endings[label])
        messages.append((label, f"{opening} {ending} {number}"))
    return messages


@pytest.fixture
def messages_file(tmp_path: Path) -> Path:
    """A raw `label<TAB>text` file of `some_messages`."""
    path = tmp_path / "messages.txt"
    path.write_text("".join(f"{label}\t{text}\n" for label, text in some_messages()))
    return path


@pytest.fixture(scope="session")
def trained_workspace_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from spamgpt.stages import fetch, finetune, prepare
    from spamgpt.workspace import Workspace

    folder = tmp_path_factory.mktemp("template")
    model = write_model(folder / "tiny")
    data = folder / "chat.tsv"
    data.write_text("".join(f"{label}\t{text}\n" for label, text in some_messages()))
    workspace = Workspace(folder / "workspace")
    fetch.run(fetch.FetchSettings(dataset=str(data), model=str(model)), workspace)
    prepare.run(prepare.PrepareSettings(), workspace)
    finetune.run(
        finetune.FinetuneSettings(unfreeze="all", epochs=3, learning_rate=3e-3, device="cpu"),
        workspace,
    )
    return workspace.root


@pytest.fixture
def trained_workspace(trained_workspace_template: Path, tmp_path: Path) -> Path:
    """A workspace with a data set, a model, prepared data and a classifier; one's own copy."""
    return Path(shutil.copytree(trained_workspace_template, tmp_path / "trained"))


@pytest.fixture(scope="session")
def mails() -> list[bytes]:
    """The bundled messages as mails of many kinds: plain, HTML, both, with an attachment, CRLF."""
    import base64
    import html
    import quopri

    from spamgpt.bundled import MESSAGES_FILE
    from spamgpt.data.tables import read_table

    encoders = {
        "8bit": lambda data: data,
        "base64": base64.encodebytes,
        "quoted-printable": quopri.encodestring,
    }

    def part(kind: str, text: str, encoding: str) -> bytes:
        charset = "iso-8859-1" if encoding == "base64" and text.isascii() else "utf-8"
        head = f'Content-Type: text/{kind}; charset="{charset}"\n'
        head += f"Content-Transfer-Encoding: {encoding}\n\n"
        return head.encode() + encoders[encoding](f"{text}\n".encode(charset))

    picture = b"Content-Type: image/png\nContent-Transfer-Encoding: base64\n\n"
    picture += base64.encodebytes(bytes(range(256)))
    made = []
    for number, text in enumerate(read_table(MESSAGES_FILE)["text"]):
        encoding = list(encoders)[number % 3]
        plain = part("plain", text, encoding)
        rich = part("html", f"<html><p>{html.escape(text)}</p></html>", encoding)
        kind, parts = {
            1: ("alternative", [plain, rich]),
            2: ("mixed", [plain, picture]),
            3: (None, [rich]),
        }.get(number % 5, (None, [plain]))
        subject = base64.b64encode(" ".join(text.split()[:5]).encode()).decode()
        head = f"From: =?utf-8?q?Zo=C3=AB?= {number} <sender{number}@mail.example>\n"
        head += f"Subject: =?utf-8?b?{subject}?=\nMessage-ID: <{number}@mail.example>\n"
        if kind:
            head += f"Content-Type: multipart/{kind}; boundary=boundary\n\n"
            body = b"".join(b"--boundary\n" + part for part in parts) + b"--boundary--\n"
        else:
            (body,) = parts
        mail = head.encode() + body
        made.append(mail.replace(b"\n", b"\r\n") if number % 2 else mail)
    return made


@pytest.fixture(scope="session")
def damaged_mails(mails: list[bytes]) -> list[bytes]:
    """2,000 mails damaged at random: bytes flipped, cut, headers doubled, wrong charsets."""
    draw = random.Random(2000)
    names = [b"punycode", b"idna", b"utf-16", b"hex", b"x-none", b"\xff", b'"', b"utf-7", b"rot13"]

    def flip(mail: bytes) -> bytes:
        flipped = bytearray(mail)
        for _ in range(draw.randint(1, 40)):
            flipped[draw.randrange(len(flipped))] = draw.randrange(256)
        return bytes(flipped)

    def cut(mail: bytes) -> bytes:
        begin, end = sorted(draw.choices(range(len(mail) + 1), k=2))
        return mail[begin:end] if draw.random() < 0.3 else mail[:end]

    def double_headers(mail: bytes) -> bytes:
        lines = mail.splitlines(keepends=True)
        at = draw.randrange(len(lines))
        return b"".join([*lines[:at], *draw.choices(lines, k=draw.randint(1, 9)), *lines[at:]])

    def wrong_charset(mail: bytes) -> bytes:
        name = draw.choice(names)
        return mail.replace(b"utf-8", name).replace(b"iso-8859-1", name)

    def wrong_structure(mail: bytes) -> bytes:
        kind = draw.choice([b"multipart/mixed", b"message/rfc822", b"multipart/x; boundary=", b"/"])
        return mail.replace(b"text/plain", kind).replace(
            b"boundary", draw.choice([b"b", b"boundary"])
        )

    def join(mail: bytes) -> bytes:
        return mail + draw.choice([b"", b"\n", b"\0", b"\r"]) + draw.choice(mails)

    damages = [flip, cut, double_headers, wrong_charset, wrong_structure, join]
    damaged = []
    for _ in range(2000):
        mail = draw.choice(mails)
        for damage in draw.sample(damages, draw.randint(1, 3)):
            mail = damage(mail) or b"\n"
        damaged.append(mail)
    return damaged


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Browser"]:
    from benchmarks.browser import Browser

    try:
        opened = Browser(tmp_path_factory.mktemp("profile"))
    except FileNotFoundError as error:
        pytest.skip(str(error))
    yield opened
    opened.quit()
