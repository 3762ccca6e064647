import json
import subprocess
import sys

import pytest


def test_each_format_is_written_as_the_help_shows_it(spamgpt, trained_workspace, tmp_path):
    for to, target in (
        ("huggingface", "filter"),
        ("onnx", "filter.onnx"),
        ("bundle", "filter.spamgpt"),
    ):
        result = spamgpt("export", "v1", "--to", to, tmp_path / target, "-w", trained_workspace)
        assert result.status == 0, result.err
        assert result.out.startswith(str(tmp_path / target))
        assert f"{to} from classifiers/v1" in result.out
        assert (tmp_path / target).exists()


def test_what_int8_costs_is_shown(spamgpt, trained_workspace, tmp_path):
    arguments = ("export", "v1", "--to", "onnx", "--int8", "-w", trained_workspace)
    shown = spamgpt(*arguments, tmp_path / "a.onnx").out
    assert "% of 12 messages get the same label; probabilities differ by" in shown
    values = json.loads(spamgpt(*arguments, tmp_path / "b.onnx", "--json").out)
    assert values["agreement"]["messages"] == 12
    assert values["agreement"]["largest_difference"] < 0.1


def test_a_bundle_answers_on_a_machine_without_a_workspace(spamgpt, trained_workspace, tmp_path):
    spamgpt("export", "v1", "--to", "bundle", tmp_path / "f.spamgpt", "-w", trained_workspace)
    for place in ("f.spamgpt", tmp_path / "f.spamgpt"):
        done = subprocess.run(
            [sys.executable, "-m", "spamgpt", "predict", "--classifier", place],
            input="WIN a FREE prize now\nsee you at home\n",
            capture_output=True,
            text=True,
            cwd=tmp_path,
        )
        assert done.returncode == 0, done.stderr
        assert [line.split("\t")[0] for line in done.stdout.splitlines()] == ["spam", "ham"]
        assert "bundled classifier" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("v1", "--to", "gguf", "x"), "--to is 'gguf'"),
        (("v1", "--to", "onnx"), "place to write to is missing"),
        (("v1", "--to", "bundle", "x", "--int8"), "--int8 is for ONNX"),
        (("v1", "--to", "bundle", "x", "--without-ngrams"), "--without-ngrams is for transformers"),
    ],
)
def test_options_that_do_not_fit_are_told_as_they_are_written(
    spamgpt, trained_workspace, arguments, told
):
    result = spamgpt("export", *arguments, "-w", trained_workspace)
    assert result.status == 2
    assert told in result.err


def test_the_format_has_to_be_named(spamgpt):
    assert spamgpt("export", "v1", "filter").status == 2


def test_what_exists_is_left_alone(spamgpt, trained_workspace, tmp_path):
    (tmp_path / "f").write_text("mine")
    result = spamgpt("export", "v1", "--to", "bundle", tmp_path / "f", "-w", trained_workspace)
    assert result.status == 2
    assert "already exists" in result.err
    assert (tmp_path / "f").read_text() == "mine"
