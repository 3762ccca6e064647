"""The page with five labels: its commands run as they stand there, with a tiny model."""

import json
import re
import shutil
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "five-labels" / "README.md"
LABELS = ["account", "billing", "delivery", "praise", "returns"]


def test_the_commands_of_the_page_sort_messages_into_five_kinds(
    spamgpt, tmp_path, monkeypatch, make_model
):
    monkeypatch.chdir(tmp_path)
    page = PAGE.read_text(encoding="utf-8")
    shutil.copy(PAGE.with_name("requests.csv"), tmp_path)
    (tmp_path / "new.txt").write_text(page.split("```\n")[1])
    commands = re.findall(r"^\$ spamgpt (.*)$", page, re.MULTILINE)
    assert [command.split()[0] for command in commands] == [
        "fetch", "prepare", "finetune", "evaluate", "predict",
    ]  # fmt: skip
    model = make_model()
    for command in commands:
        words = [str(model) if word == "mini" else word for word in command.split()]
        result = spamgpt(*words)
        assert result.status == 0, result.err
    assert result.out.count("\n") == 5
    answers = spamgpt("predict", "new.txt", "--json").out.splitlines()
    for answer in map(json.loads, answers):
        assert sorted(answer["probabilities"]) == LABELS
        assert answer["label"] == max(answer["probabilities"], key=answer["probabilities"].get)
    scores = json.loads(spamgpt("evaluate", "--json").out)
    assert sorted(scores["labels"]) == LABELS
