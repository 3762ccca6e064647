"""What `spamgpt sweep` shows."""

import json

import pytest


@pytest.fixture
def grid(tmp_path):
    path = tmp_path / "try.toml"
    path.write_text(
        "seeds = [1, 2]\nepochs = 1\n[[run]]\nname = 'head'\nunfreeze = 'head'\n"
        "[[run]]\nname = 'xl'\nmodel = 'gpt2-xl'\n[[run]]\nname = 'first'\npooling = 'first'\n"
    )
    return path


def test_the_table_is_shown_with_what_was_not_run(spamgpt, trained_workspace, grid):
    result = spamgpt("sweep", grid, "-w", trained_workspace)
    assert result.status == 0, result.err
    lines = [line.rstrip() for line in result.out.splitlines()]
    assert lines[0] == "sweeps/try/v1"
    assert " ".join(lines[1].split()) == "run trained train, % validation, % test, % s p"
    assert lines[2].split()[:2] == ["head", "66"]
    assert lines[3].split() == ["xl", "-", "not", "run"]
    assert "xl: not run; the model gpt2-xl is not in the workspace" in lines
    assert any("Student's paired t-test over 2 seeds" in line for line in lines)
    assert f"Table and chart: {trained_workspace / 'sweeps' / 'try' / 'v1'}" in result.err
    listed = spamgpt("artifacts", "--verify", "-w", trained_workspace)
    assert "sweeps/try/v1" in listed.out


def test_a_narrow_screen_breaks_names_and_no_number(spamgpt, trained_workspace, grid):
    published = "published = {train = 91.25, validation = 92.5, test = 93.75}"
    grid.write_text(
        "epochs = 1\n"
        + f"[[run]]\nname = 'a rather long name for a run'\n{published}\n"
        + f"[[run]]\nname = 'b'\nunfreeze = 'head'\n{published}\n"
    )
    lines = spamgpt("sweep", grid, "-w", trained_workspace).out.splitlines()
    assert max(map(len, lines[:6])) <= 80
    assert sum(line.rstrip().endswith(" 93.75") for line in lines) == 2


def test_json_holds_the_table(spamgpt, trained_workspace, grid):
    result = spamgpt("sweep", grid, "--json", "-w", trained_workspace, "--quiet")
    told = json.loads(result.out)
    assert told["artifact"] == "sweeps/try/v1"
    assert [row["run"] for row in told["table"]] == ["head", "xl", "first"]
    assert told["table"][1]["test_accuracy"] is None
    assert told["table"][2]["p_value"] <= 1
    assert result.err == ""


def test_a_dry_run_trains_nothing(spamgpt, trained_workspace, grid):
    result = spamgpt("sweep", grid, "--dry-run", "-w", trained_workspace)
    lines = result.out.splitlines()
    assert lines[0].split() == ["run", "trained", "done"]
    assert lines[1].split() == ["head", "66", "0/2"]
    assert lines[2].endswith("the model gpt2-xl is not in the workspace")
    told = json.loads(spamgpt("sweep", grid, "--dry-run", "--json", "-w", trained_workspace).out)
    assert told["runs"][0] == {
        "run": "head", "model": "models/tiny/v1", "trained_parameters": 66, "done": 0,
        "not_run": None,
    }  # fmt: skip
    assert not (trained_workspace / "sweeps").exists()
    assert [path.name for path in (trained_workspace / "classifiers").glob("v*")] == ["v1"]


def test_an_error_names_the_file_and_the_key(spamgpt, trained_workspace, grid):
    grid.write_text("learning_rte = 1")
    result = spamgpt("sweep", grid, "-w", trained_workspace)
    assert result.status == 4
    assert f"error: {grid}, learning_rte is no setting." in result.err.splitlines()
