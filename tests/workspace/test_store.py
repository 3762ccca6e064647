import shutil
from dataclasses import dataclass

import pytest

from spamgpt.errors import IntegrityError, MissingInputError


@dataclass(frozen=True)
class Settings:
    shape: str = "round"


def test_what_was_made_before_something_else_is_not_taken_for_the_newest(workspace, make):
    for name in ("a", "b", "a"):
        make(workspace, "datasets", name=name, content=name, reuse=True)
    assert workspace.newest("datasets").reference == "datasets/a/v2"


def test_a_missing_input_names_the_command_that_makes_it(workspace):
    with pytest.raises(MissingInputError) as caught:
        workspace.newest("prepared")
    assert "spamgpt prepare" in caught.value.hint


def test_artifacts_are_found_by_version_by_name_and_by_reference(workspace, make):
    for name in ("b", "a", "b"):
        make(workspace, "datasets", name=name)
    found = {
        named: workspace.newest("datasets", named).reference
        for named in (None, "a", "b", "b/v1", "v1", "datasets/b/v1")
    }
    assert found == {
        None: "datasets/b/v2",
        "a": "datasets/a/v1",
        "b": "datasets/b/v2",
        "b/v1": "datasets/b/v1",
        "v1": "datasets/a/v1",
        "datasets/b/v1": "datasets/b/v1",
    }
    with pytest.raises(MissingInputError, match="'c'") as caught:
        workspace.newest("datasets", "c")
    assert "datasets/a/v1, datasets/b/v1, datasets/b/v2" in caught.value.hint


def test_the_tenth_version_is_newer_than_the_ninth(workspace, make):
    for _ in range(10):
        make(workspace)
    assert workspace.newest("prepared").reference == "prepared/v10"


def test_an_input_is_found_by_its_content_even_under_another_version(workspace, make):
    model = make(workspace, "models", name="gpt2")
    classifier = make(workspace, "classifiers", inputs=(model,))
    shutil.rmtree(model.folder)
    with pytest.raises(MissingInputError, match="was made from models/gpt2/v1"):
        workspace.input_of(classifier, "models")
    make(workspace, "models", name="gpt2", content="another")
    again = make(workspace, "models", name="gpt2")
    assert workspace.input_of(classifier, "models").reference == again.reference


def test_reuse_takes_the_newest_version_only_if_it_is_the_same(workspace, make):
    first = make(workspace, reuse=True)
    assert make(workspace, reuse=True).reference == first.reference
    assert make(workspace, content="other", reuse=True).reference == "prepared/v2"


def test_what_stands_in_for_something_is_inherited_and_never_reused_for_the_thing_itself(
    workspace, make
):
    with workspace.new("datasets", Settings(), name="bundled", reuse=True) as draft:
        draft.substitutions.append("this stands in for that")
    prepared = make(workspace, inputs=(draft.artifact, make(workspace, kind="classifiers")))
    assert make(workspace, inputs=(prepared, draft.artifact)).substitutions == [
        "this stands in for that"
    ]
    with workspace.new("datasets", Settings(), name="bundled", reuse=True) as meant:
        pass
    assert meant.artifact.reference == "datasets/bundled/v2"
    assert meant.artifact.substitutions == []


def test_what_is_up_to_date_is_found_by_its_settings_and_the_content_of_its_inputs(workspace, make):
    inputs = [make(workspace, kind="classifiers", content=content) for content in "ab"]
    made = make(workspace, inputs=(inputs[0],))
    make(workspace, inputs=(inputs[1],), content="newer")
    found = workspace.up_to_date("prepared", {"shape": "round"}, [inputs[0]])
    assert found == made
    assert workspace.up_to_date("prepared", {}, [inputs[0]]) == made
    assert workspace.up_to_date("prepared", {"shape": "square"}, [inputs[0]]) is None
    assert workspace.up_to_date("prepared", {"shape": "round"}, inputs) is None
    assert workspace.up_to_date("evaluations", {}, []) is None
    (made.folder / "file.txt").write_text("damaged")
    with pytest.raises(IntegrityError):
        workspace.up_to_date("prepared", {"shape": "round"}, [inputs[0]])
