"""The page on several labels: its commands run as they stand there, with a tiny model."""

import json
import shutil
import subprocess
from pathlib import Path

from website.console import shown

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "several-labels.md"
LABELS = ["account", "billing", "delivery", "praise", "returns"]


def test_the_commands_of_the_page_sort_messages_into_five_kinds(
    spamgpt, tmp_path, monkeypatch, make_model
):
    monkeypatch.chdir(tmp_path)
    shutil.copy(PAGE.with_name("requests.csv"), tmp_path)
    write, *commands = [each.command for each in shown(PAGE.read_text(encoding="utf-8"))]
    subprocess.run(["bash", "-c", write], check=True)
    assert [command.split()[:2] for command in commands] == [
        ["spamgpt", stage] for stage in ("fetch", "prepare", "finetune", "evaluate", "predict")
    ]
    model = make_model()
    for command in commands:
        words = [str(model) if word == "mini" else word for word in command.split()[1:]]
        result = spamgpt(*words)
        assert result.status == 0, result.err
    assert result.out.count("\n") == 5
    answers = spamgpt("predict", "new.txt", "--json").out.splitlines()
    for answer in map(json.loads, answers):
        assert sorted(answer["probabilities"]) == LABELS
        assert answer["label"] == max(answer["probabilities"], key=answer["probabilities"].get)
    scores = json.loads(spamgpt("evaluate", "--json").out)
    assert sorted(scores["labels"]) == LABELS
