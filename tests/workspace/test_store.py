import shutil
from dataclasses import dataclass
from datetime import datetime

import pytest

from spamgpt.errors import IntegrityError, MissingInputError
from spamgpt.reporting import Reporter
from spamgpt.workspace.manifest import manifest_bytes


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


def set_clock(monkeypatch, moment: str) -> None:
    class Clock(datetime):
        @classmethod
        def now(cls, zone=None):
            return datetime.fromisoformat(moment)

    monkeypatch.setattr("spamgpt.workspace.store.datetime", Clock)


def test_what_was_made_after_the_clock_was_set_back_is_newer(workspace, make, monkeypatch):
    make(workspace, "datasets", name="a")
    set_clock(monkeypatch, "1999-01-01T00:00:00+00:00")
    made = make(workspace, "datasets", name="b", content="other")
    assert workspace.newest("datasets") == made
    assert workspace.artifacts("datasets")[-1] == made
    assert make(workspace, "datasets", name="b", content="other", reuse=True) == made


def test_what_was_made_before_the_order_was_recorded_is_older(workspace, make, monkeypatch):
    set_clock(monkeypatch, "2027-01-01T00:00:00+00:00")
    old = [make(workspace, "datasets", name=name) for name in "ab"]
    for artifact in old:
        values = {k: v for k, v in artifact.manifest.items() if k != "sequence"}
        (artifact.folder / "artifact.json").write_bytes(manifest_bytes(values))
    assert workspace.newest("datasets").reference == "datasets/b/v1"
    set_clock(monkeypatch, "1999-01-01T00:00:00+00:00")
    assert make(workspace, "datasets", name="0") == workspace.newest("datasets")


def test_a_choice_among_inputs_is_told_and_none_where_there_is_one(workspace, make):
    told = []

    class Notes(Reporter):
        def note(self, text: str) -> None:
            told.append(text)

    make(workspace, "datasets", name="a")
    workspace.newest("datasets", None, Notes())
    assert told == []
    make(workspace, "datasets", name="b")
    workspace.newest("datasets", "a", Notes())
    assert told == []
    workspace.newest("datasets", None, Notes())
    assert told == ["Taking datasets/b/v1, the newest of 2; to take another: `dataset=NAME`"]
