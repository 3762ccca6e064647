import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from spamgpt import cli
from spamgpt.cli import SUMMARIES
from spamgpt.workspace.manifest import manifest_bytes

HEAVY = ("torch", "pandas", "sklearn", "matplotlib", "tiktoken", "huggingface_hub", "transformers")


@pytest.mark.parametrize("arguments", [["--help"], ["predict", "--help"], ["--version"]])
def test_help_imports_nothing_heavy(arguments):
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "spamgpt", *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "spamgpt.cli" in imported
    assert not imported & set(HEAVY)


def imported_to_answer(tmp_path, *options: str, messages: str = "hi") -> set[str]:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "spamgpt", "predict", *options],
        input=messages,
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    return {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}


def test_a_first_answer_waits_for_no_torch(tmp_path):
    imported = imported_to_answer(tmp_path, "--classifier", "bundled")
    assert "spamgpt.gpt2.in_numpy" in imported
    assert not imported & {"torch", "pandas", "sklearn", "huggingface_hub", "asyncio"}


def test_what_only_torch_computes_imports_no_compiler(tmp_path):
    imported = imported_to_answer(tmp_path, "--classifier", "bundled", "--precision", "bf16")
    assert "torch" in imported
    assert not imported & {"torch._dynamo", "sympy", "pandas", "sklearn", "huggingface_hub"}


def test_importing_the_package_imports_no_torch():
    code = "import spamgpt, sys; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_help_lists_every_command_and_suggests_what_was_meant(spamgpt):
    files = {path.stem for path in Path(cli.__file__).parent.glob("*.py")}
    files = {"import" if stem == "import_" else stem for stem in files}
    others = {"__init__", "command", "dataset_options", "inputs", "options", "scoring", "together"}
    others.add("training_options")
    assert files - set(SUMMARIES) == others
    shown = spamgpt("--help")
    assert shown.status == 0
    for command in SUMMARIES:
        assert f"\n  {command} " in shown.out
    assert max(map(len, shown.out.splitlines())) <= 80
    assert spamgpt().status == 2
    assert "Did you mean 'predict'?" in spamgpt("predct").err


@pytest.mark.parametrize("command", SUMMARIES)
def test_every_command_explains_itself(spamgpt, command):
    result = spamgpt(command, "--help")
    assert result.status == 0
    assert "--workspace" in result.out
    assert max(map(len, result.out.splitlines())) <= 80


def test_the_version_is_shown(spamgpt):
    assert re.fullmatch(r"spamgpt \d+\.\d+\.\d+\n", spamgpt("--version").out)


@pytest.mark.parametrize(
    "arguments",
    [["nonsense"], ["finetune", "--epochs", "0"], ["predict", "--format", "xml"], ["--nonsense"]],
)
def test_wrong_options_end_with_status_2(spamgpt, arguments):
    assert spamgpt(*arguments).status == 2


def test_an_error_is_one_line_and_a_hint_on_standard_error(spamgpt, tmp_path):
    result = spamgpt("evaluate", "-w", tmp_path / "none")
    assert result.status == 3
    assert result.out == ""
    assert result.err.splitlines() == [
        f"error: There is no classifier in {tmp_path / 'none'}.",
        f" hint: Make it: spamgpt finetune -w {tmp_path / 'none'}",
    ]


def test_debug_shows_the_traceback(spamgpt, tmp_path):
    result = spamgpt("evaluate", "-w", tmp_path / "none", "--debug")
    assert result.status == 3
    assert "Traceback (most recent call last)" in result.err


def test_an_error_cannot_steer_the_terminal(spamgpt, tmp_path):
    result = spamgpt("evaluate", "-w", tmp_path / "\x1b[31mred")
    assert "\x1b" not in result.err
    assert r"\u001b[31mred" in result.err


@pytest.mark.parametrize(
    "command", ["finetune", "pretrain", "evaluate", "compare", "sweep", "predict", "run"]
)
def test_every_command_that_computes_takes_the_number_of_threads(spamgpt, command):
    assert "--threads" in spamgpt(command, "--help").out
    assert spamgpt(command, "--threads", 0).status == 2


def test_a_command_computes_with_the_threads_it_is_given(spamgpt, tmp_path):
    import torch

    before = torch.get_num_threads()
    (tmp_path / "texts").write_text("free\n")
    arguments = (tmp_path / "texts", "--classifier", "bundled", "--threads", before + 1)
    try:
        assert spamgpt("predict", *arguments).status == 0
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)


def test_the_stages_follow_each_other(spamgpt, tmp_path, make_model, messages_file):
    workspace = ("-w", tmp_path / "workspace")
    fetched = spamgpt("fetch", "--dataset", messages_file, "--model", make_model(), *workspace)
    assert fetched.status == 0
    assert fetched.out.splitlines() == [
        "datasets/messages/v1  120 messages: 80 ham, 40 spam",
        "models/tiny/v1        2 blocks, 2 heads, width 32, pretrained weights",
    ]
    prepared = spamgpt("prepare", "--balance", *workspace)
    assert prepared.out.splitlines() == [
        "prepared/v1  80 of 120 messages (0 repeats dropped)",
        "train        56 messages: 28 ham, 28 spam",
        "validation   8 messages: 4 ham, 4 spam",
        "test         16 messages: 8 ham, 8 spam",
        "from         datasets/messages/v1",
    ]
    trained = spamgpt("finetune", "--unfreeze", "all", "--epochs", 2, "--seed", 1, *workspace)
    assert trained.status == 0
    assert (
        "Trains 35,970 of 35,970 parameters (100.00%) for 2 epochs in batches of 8" in trained.err
    )
    assert "epoch  training loss  accuracy  validation loss  accuracy" in trained.err
    assert trained.out.startswith("classifiers/v1  epoch ")
    evaluated = spamgpt("evaluate", *workspace)
    assert "classifiers/v1 on the test split, 16 messages" in evaluated.out
    assert "precision" in evaluated.out
    listed = spamgpt("artifacts", "--verify", *workspace)
    assert [line.split()[0] for line in listed.out.splitlines()] == [
        "datasets/messages/v1",
        "models/tiny/v1",
        "prepared/v1",
        "classifiers/v1",
        "evaluations/v1",
    ]
    assert "from prepared/v1 and models/tiny/v1" in listed.out
    assert listed.out.count("verified") == 5


def test_json_gives_one_object(spamgpt, trained_workspace):
    workspace = ("-w", trained_workspace)
    assert json.loads(spamgpt("prepare", "--json", *workspace).out)["messages"] == 120
    plan = json.loads(spamgpt("finetune", "--dry-run", "--json", *workspace).out)
    assert plan["all_parameters"] == 35_970
    trained = json.loads(spamgpt("finetune", "--epochs", 1, "--json", *workspace).out)
    assert trained["artifact"] == "classifiers/v2"
    assert 0 <= json.loads(spamgpt("evaluate", "--json", *workspace).out)["accuracy"] <= 1
    artifacts = json.loads(spamgpt("artifacts", "--json", *workspace).out)["artifacts"]
    assert len(artifacts) == 7
    assert artifacts[0]["artifact"] == "datasets/chat/v1"


def test_quiet_says_nothing_but_the_result(spamgpt, trained_workspace):
    options = ("--epochs", 1, "--threshold-for", "f1", "--quiet")
    result = spamgpt("finetune", *options, "-w", trained_workspace)
    assert result.err == ""
    assert result.out.startswith("classifiers/v2")


def test_a_dry_run_shows_the_parts_and_trains_nothing(spamgpt, trained_workspace):
    result = spamgpt("finetune", "--dry-run", "-w", trained_workspace)
    assert [line.split()[0] for line in result.out.splitlines()] == [
        "part",
        "embeddings",
        "block",
        "block",
        "final",
        "head",
        "Trains",
    ]
    assert not (trained_workspace / "classifiers" / "v2").exists()


def test_damaged_artifacts_are_named_and_the_whole_ones_still_listed(spamgpt, trained_workspace):
    file = trained_workspace / "prepared" / "v1" / "test.csv"
    times = file.stat()
    content = bytearray(file.read_bytes())
    content[10] ^= 1
    file.write_bytes(content)
    import os

    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert spamgpt("artifacts", "-w", trained_workspace).status == 0
    result = spamgpt("artifacts", "--verify", "-w", trained_workspace)
    assert result.status == 5
    assert f"{file} is damaged" in result.err
    assert "classifiers/v1" in result.out


def test_an_empty_workspace_says_how_to_begin(spamgpt, tmp_path):
    result = spamgpt("artifacts", "-w", tmp_path / "none")
    assert result.status == 0
    assert "spamgpt fetch" in result.err


def test_the_workspace_can_be_set_by_variable(spamgpt, trained_workspace, monkeypatch):
    monkeypatch.setenv("SPAMGPT_WORKSPACE", str(trained_workspace))
    assert "classifiers/v1" in spamgpt("artifacts").out


def test_run_goes_through_all_stages_and_the_second_time_says_that_nothing_is_left(
    spamgpt, tmp_path, make_model, messages_file
):
    arguments = ["run", "--dataset", messages_file, "--model", make_model(), "-w", tmp_path / "ws"]
    first = spamgpt(*arguments, "--unfreeze", "all", "--epochs", 2, "--learning-rate", 0.003)
    assert first.status == 0, first.err
    for reference in ("datasets/messages/v1", "models/tiny/v1", "prepared/v1", "classifiers/v1"):
        assert reference in first.out
    assert "evaluations/v1: classifiers/v1 on the test split, 24 messages" in first.out
    answers = first.out.partition("label      prob.  message\n")[2].splitlines()
    assert len(answers) == 4
    assert all(line.startswith(("spam ", "ham ")) for line in answers)
    assert "spamgpt predict" in first.err
    second = spamgpt(*arguments, "--unfreeze", "all", "--epochs", 2, "--learning-rate", 0.003)
    assert second.status == 0
    for stage in ("prepare", "finetune", "evaluate"):
        assert f"{stage}: skipped" in second.out
    assert "made with the same settings from the same inputs" in second.out
    assert "Nothing was left to do." in second.err
    third = spamgpt(*arguments, "--unfreeze", "head", "--epochs", 1, "--json")
    told = json.loads(third.out)
    assert told["prepare"]["skipped"]
    assert told["finetune"]["skipped"] is None
    assert told["finetune"]["classifiers"]["artifact"] == "classifiers/v2"
    assert told["evaluate"]["metrics"]["messages"] == 24


def test_an_up_to_date_run_imports_no_torch(tmp_path):
    command = [sys.executable, "-X", "importtime", "-m", "spamgpt", "run", "--offline", "--epochs"]
    workspace = ["-w", str(tmp_path / "ws")]
    for epochs in ("1", "1"):
        done = subprocess.run(
            [*command, epochs, "--unfreeze", "head", *workspace],
            capture_output=True,
            text=True,
            check=True,
        )
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "Nothing was left to do." in done.stderr
    assert "spamgpt.stages.pipeline" in imported
    assert not imported & set(HEAVY) - {"huggingface_hub"}


@pytest.mark.parametrize("name", ["mini", "bundled"])
def test_the_cards_of_what_is_bundled_are_shown(spamgpt, tmp_path, name):
    shown = spamgpt("artifacts", name, "-w", tmp_path / "none")
    assert shown.status == 0
    assert shown.out.startswith("---\nlicense: mit\n")
    assert json.loads(spamgpt("artifacts", name, "--json", "-w", tmp_path).out) == {
        "card": shown.out
    }


def test_the_card_of_a_model_in_the_workspace_is_shown(spamgpt, tmp_path, make_model):
    workspace = ["-w", tmp_path / "ws"]
    with_card, without = make_model("with-card"), make_model("without")
    (with_card / "README.md").write_text("# The card\n\x1b[2J")
    for model in (with_card, without):
        fetched = spamgpt("fetch", "--dataset", "bundled-messages", "--model", model, *workspace)
        assert fetched.status == 0
    assert spamgpt("artifacts", "with-card", *workspace).out == "# The card\n\x1b[2J"
    assert spamgpt("artifacts", "models/without/v1", *workspace).status == 3
    unknown = spamgpt("artifacts", "nothing", *workspace)
    assert unknown.status == 3
    assert "Bundled: mini, bundled" in unknown.err


def test_the_card_of_a_classifier_is_shown_and_the_list_says_how(spamgpt, trained_workspace):
    card = (trained_workspace / "classifiers" / "v1" / "README.md").read_text()
    listed = spamgpt("artifacts", "-w", trained_workspace)
    assert "model card: spamgpt artifacts classifiers/v1" in listed.out
    for name in ("classifiers/v1", "classifiers"):
        assert spamgpt("artifacts", name, "-w", trained_workspace).out == card
    missing = spamgpt("artifacts", "classifiers/v9", "-w", trained_workspace)
    assert (missing.status, "no classifier 'classifiers/v9'" in missing.err) == (3, True)


def test_predict_in_an_empty_folder_says_what_answered(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "spamgpt", "predict"],
        input="hi\n",
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=True,
    )
    assert re.fullmatch(r"(ham|spam)\t[01]\.\d{4}\thi\n", done.stdout)
    assert "bundled classifier" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_cache_is_used_shown_and_cleared(spamgpt, trained_workspace):
    options = ["--unfreeze", "last-block", "--epochs", 1, "-w", trained_workspace]
    first = spamgpt("finetune", *options)
    assert first.status == 0, first.err
    shown = spamgpt("cache", "-w", trained_workspace)
    assert "blocks 1-1 (train), used " in shown.out
    assert "blocks 1-1 (validation), used " in shown.out
    files = sorted((trained_workspace / "cache").iterdir())
    before = [path.stat().st_mtime_ns for path in files if path.suffix == ".npy"]
    assert spamgpt("finetune", *options).status == 0
    assert [path.stat().st_mtime_ns for path in files if path.suffix == ".npy"] == before
    classifiers = sorted((trained_workspace / "classifiers").glob("v*/trained.safetensors"))
    assert classifiers[-1].read_bytes() == classifiers[-2].read_bytes()
    assert json.loads(spamgpt("cache", "--json", "-w", trained_workspace).out)["freed"] == 0
    assert spamgpt("cache", "--clear", "-w", trained_workspace).out.startswith("freed")
    assert not (trained_workspace / "cache").exists()
    none = spamgpt("finetune", *options, "--cache-limit", 0)
    assert none.status == 0
    assert "cache is too small" in none.err
    assert not (trained_workspace / "cache").exists()
    again = spamgpt("finetune", "--precision", "bf16", *options)
    assert again.status == 0


def test_an_empty_cache_is_shown_and_cleared_without_a_word_too_many(spamgpt, tmp_path):
    assert "0.0 MB" in spamgpt("cache", "-w", tmp_path / "none").out
    assert spamgpt("cache", "--clear", "-w", tmp_path / "none").status == 0
    assert list(tmp_path.iterdir()) == []


def test_a_manifest_written_by_something_else_does_not_hide_the_others(spamgpt, trained_workspace):
    path = trained_workspace / "models" / "tiny" / "v1" / "artifact.json"
    values = json.loads(path.read_bytes())
    path.write_bytes(manifest_bytes(values | {"files": None, "inputs": None, "created": None}))
    found = spamgpt("artifacts", "--verify", "-w", trained_workspace)
    assert found.status == 5
    for reference in ("datasets/chat/v1", "prepared/v1", "classifiers/v1"):
        assert re.search(rf"^{reference} .* verified$", found.out, re.MULTILINE)
    assert f"{path} is no manifest of an artifact" in " ".join(found.err.split())
    found = spamgpt("finetune", "-w", trained_workspace)
    assert (found.status, found.err.count("\n")) == (5, 2)


def test_a_choice_between_data_sets_is_told_once_and_quietly(spamgpt, trained_workspace, tmp_path):
    more = tmp_path / "more.tsv"
    more.write_text("".join(f"ham\tsee you {n}\nspam\tWIN {n}\n" for n in range(30)))
    spamgpt("fetch", "--dataset", more, "-w", trained_workspace)
    found = spamgpt("prepare", "-w", trained_workspace)
    assert found.err == (
        "Taking datasets/more/v1, the newest of 2; to take another: --dataset NAME\n"
    )
    assert "from   datasets/more/v1" in re.sub(" +", "   ", found.out)
    assert spamgpt("prepare", "-w", trained_workspace, "--quiet").err == ""
    assert "prepared/v3" in spamgpt("finetune", "-w", trained_workspace, "--epochs", 1).err
