"""The tokenizer of the filter in the browser: the ids of ours."""

import json
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from spamgpt import SpamClassifier
from spamgpt.bundled import MESSAGES_FILE
from spamgpt.data.tables import read_labelled_file
from tests.conftest import SHARED_DATA
from website.demo import about_classifier

SCRIPT = Path(__file__).parents[2] / "docs" / "demo" / "tokenizer.js"
HARD = [
    "", " ", "  \n\n  a", "it's they'll I'VE we'd", "a\u0085b\u00a0\u2003c\u3000 \ufeff\x1c\x1d d",
    "<|endoftext|>", "é e\u0301 ß İ ǅ", "१२३ ½ Ⅷ ٣", "日本語。テスト", "\u202e\u200bx\u200d",
    "👩\u200d👩\u200d👧 🏴󠁧󠁢󠁳󠁣󠁴󠁿", "\x00\x01\x7f", "a" * 3000, "ab" * 900, " " * 2000 + "x",
    "aaaa aaa aa a", "\ud800 x \udc00",
]  # fmt: skip


def garbled(texts: list[str], count: int) -> list[str]:
    """Texts with characters of all kinds put in, taken out, and joined."""
    draw = random.Random(7)
    kinds = [
        "abc XYZ",
        "0123 ,.!?'",
        "\t\n\r \u00a0\u2028",
        "äßéñ",
        "мир",
        "你好",
        "😀🎉\u200d",
        "İıǅ",
    ]
    made = []
    for _ in range(count):
        characters = list(draw.choice(texts))
        for _ in range(draw.randint(1, 12)):
            place = draw.randint(0, len(characters))
            characters[place : place + draw.randint(0, 2)] = draw.choices(
                draw.choice(kinds), k=draw.randint(1, 3)
            )
        made.append("".join(characters))
    return made


def test_it_gives_the_ids_of_ours_for_thousands_of_messages(tmp_path):
    if shutil.which("node") is None:
        pytest.skip("there is no Node.js here (Debian: apt install nodejs)")
    classifier = SpamClassifier.bundled("cpu", "fp32")
    texts = list(read_labelled_file(MESSAGES_FILE)["text"])
    collection = SHARED_DATA / "sms-spam-collection" / "SMSSpamCollection"
    if collection.exists():
        texts += [line.split("\t")[1] for line in collection.read_text("utf-8").splitlines()]
    texts += HARD + garbled(texts, max(2_000, 5_000 - len(texts)))
    assert len(texts) >= 5_000
    shutil.copy(SCRIPT, tmp_path / "tokenizer.mjs")
    (tmp_path / "run.mjs").write_text(
        'import { readFileSync } from "node:fs";\n'
        'import { Tokenizer } from "./tokenizer.mjs";\n'
        "const { about, texts } = JSON.parse(readFileSync(0));\n"
        "const tokenizer = new Tokenizer(about.tokens, about.end_of_text);\n"
        "const ids = texts.map((text) => tokenizer.encode(text));\n"
        "console.log(JSON.stringify(ids));\n"
    )
    given = json.dumps({"about": about_classifier(classifier), "texts": texts})
    done = subprocess.run(
        ["node", tmp_path / "run.mjs"], input=given, capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout)
    for text, ids, ours in zip(texts, found, classifier.tokenizer.encode(texts), strict=True):
        assert ids == ours, text
