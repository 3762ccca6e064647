import json
import os
import shutil
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest

from spamgpt.errors import IntegrityError, MissingInputError
from spamgpt.workspace import Artifact, Workspace, artifact_name


@dataclass(frozen=True)
class Settings:
    shape: str = "round"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "workspace")


def make(
    workspace: Workspace,
    kind: str = "prepared",
    content: str = "content",
    inputs: tuple[Artifact, ...] = (),
    **options,
) -> Artifact:
    with workspace.new(kind, Settings(), inputs, **options) as draft:
        (draft.folder / "file.txt").write_text(content)
        draft.counts["letters"] = len(content)
    return draft.artifact


def everything_in(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_an_artifact_records_how_it_was_made(workspace):
    source = make(workspace, "datasets", name="sms")
    artifact = make(workspace, inputs=(source,))
    manifest = json.loads((artifact.folder / "artifact.json").read_text())
    assert artifact.reference == "prepared/v1"
    assert manifest["stage"] == "prepare"
    assert manifest["settings"] == {"shape": "round"}
    assert manifest["inputs"] == [{"artifact": "datasets/sms/v1", "digest": source.digest}]
    assert manifest["counts"] == {"letters": 7}
    assert manifest["files"]["file.txt"]["size"] == 7
    assert manifest["version"] == 1
    assert {"schema", "created", "seconds", "spamgpt", "libraries"} <= manifest.keys()
    assert manifest["libraries"]["torch"]


def test_equal_content_has_an_equal_digest_and_other_content_another(workspace):
    first, second, third = make(workspace), make(workspace), make(workspace, content="other")
    assert first.digest == second.digest != third.digest


def test_versions_count_up_and_numbers_of_deleted_artifacts_are_not_used_again(workspace):
    make(workspace)
    second = make(workspace)
    shutil.rmtree(second.folder)
    assert make(workspace).reference == "prepared/v3"


def test_a_failing_first_run_leaves_nothing_behind(workspace):
    with pytest.raises(ZeroDivisionError), workspace.new("prepared", Settings()) as draft:
        (draft.folder / "file.txt").write_text("half")
        raise ZeroDivisionError
    assert not workspace.root.exists()


def test_a_failing_run_leaves_what_was_there_as_it_was(workspace):
    artifact = make(workspace)
    before = everything_in(workspace.root)
    with pytest.raises(ZeroDivisionError), workspace.new("prepared", Settings()):
        raise ZeroDivisionError
    assert everything_in(workspace.root) == before
    assert workspace.newest("prepared").digest == artifact.digest


def test_a_damaged_counter_does_no_harm(workspace):
    make(workspace)
    (workspace.root / "prepared" / ".last-version").write_text("")
    assert make(workspace).reference == "prepared/v2"


def test_what_was_made_before_something_else_is_not_taken_for_the_newest(workspace):
    for name in ("a", "b", "a"):
        make(workspace, "datasets", name=name, content=name, reuse=True)
    assert workspace.newest("datasets").reference == "datasets/a/v2"


def test_two_runs_at_once_get_two_versions(workspace):
    together = threading.Barrier(8)
    made = []

    def run() -> None:
        with workspace.new("prepared", Settings()) as draft:
            (draft.folder / "file.txt").write_text("content")
            together.wait()
        made.append(draft.artifact.reference)

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == [f"prepared/v{number}" for number in range(1, 9)]


def test_the_draft_of_a_killed_run_is_removed_by_the_next_and_one_in_use_is_kept(workspace):
    make(workspace)
    # What kill -9 leaves: a draft and its lock file, which nobody holds.
    abandoned = workspace.root / "prepared" / ".draft-abandoned"
    abandoned.mkdir()
    (abandoned / "file.txt").write_text("half")
    abandoned.with_name(".draft-abandoned.lock").touch()
    abandoned.with_name(".draft-orphan.lock").touch()
    unlocked = workspace.root / "prepared" / ".draft-unlocked"
    unlocked.mkdir()
    with workspace.new("prepared", Settings()) as slow:
        (slow.folder / "file.txt").write_text("slow")
        make(workspace)
        assert slow.folder.exists()
        assert not abandoned.exists()
        assert not unlocked.exists()
    assert everything_in(workspace.root / "prepared") == [
        ".last-version",
        *(f"v{n}{file}" for n in (1, 2, 3) for file in ("", "/artifact.json", "/file.txt")),
    ]


def test_a_missing_byte_is_noticed_and_the_file_named(workspace):
    artifact = make(workspace)
    (artifact.folder / "file.txt").write_text("conten")
    with pytest.raises(IntegrityError, match=r"file\.txt is damaged"):
        artifact.file("file.txt")


def test_a_flipped_byte_is_noticed_and_the_file_named(workspace):
    artifact = make(workspace)
    (artifact.folder / "file.txt").write_text("cOntent")
    with pytest.raises(IntegrityError, match=r"file\.txt is damaged"):
        artifact.file("file.txt")


def test_a_missing_file_is_noticed(workspace):
    artifact = make(workspace)
    (artifact.folder / "file.txt").unlink()
    with pytest.raises(IntegrityError, match=r"file\.txt is missing"):
        artifact.file("file.txt")


def test_a_file_with_the_recorded_size_and_time_is_trusted_until_all_is_hashed(workspace):
    artifact = make(workspace)
    path = artifact.folder / "file.txt"
    times = path.stat()
    path.write_text("cOntent")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    artifact.file("file.txt")
    with pytest.raises(IntegrityError, match=r"file\.txt is damaged"):
        artifact.check("file.txt", always_hash=True)


def test_a_copied_workspace_is_hashed_once_and_then_trusted(workspace, tmp_path, monkeypatch):
    artifact = make(workspace)
    os.utime(artifact.folder / "file.txt", ns=(1, 1))
    artifact.file("file.txt")
    monkeypatch.setattr("spamgpt.workspace.sha256", lambda path: pytest.fail("hashed again"))
    artifact.file("file.txt")


@pytest.mark.parametrize("position", [0, 1, 20, -2, -1])
def test_a_byte_missing_from_a_manifest_is_noticed_wherever_it_was(workspace, position):
    artifact = make(workspace)
    path = artifact.folder / "artifact.json"
    text = bytearray(path.read_bytes())
    del text[position]
    path.write_bytes(text)
    with pytest.raises(IntegrityError, match=r"artifact\.json is damaged"):
        workspace.newest("prepared")


def test_a_changed_number_in_a_manifest_is_noticed(workspace):
    artifact = make(workspace)
    path = artifact.folder / "artifact.json"
    path.write_text(path.read_text().replace('"letters": 7', '"letters": 8'))
    with pytest.raises(IntegrityError, match=r"artifact\.json is damaged"):
        workspace.newest("prepared")


def test_a_missing_input_names_the_command_that_makes_it(workspace):
    with pytest.raises(MissingInputError) as caught:
        workspace.newest("prepared")
    assert "spamgpt prepare" in caught.value.hint


def test_artifacts_are_found_by_version_by_name_and_by_reference(workspace):
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


def test_the_tenth_version_is_newer_than_the_ninth(workspace):
    for _ in range(10):
        make(workspace)
    assert workspace.newest("prepared").reference == "prepared/v10"


def test_an_input_is_found_by_its_content_even_under_another_version(workspace):
    model = make(workspace, "models", name="gpt2")
    classifier = make(workspace, "classifiers", inputs=(model,))
    shutil.rmtree(model.folder)
    with pytest.raises(MissingInputError, match="stands on models/gpt2/v1"):
        workspace.input_of(classifier, "models")
    make(workspace, "models", name="gpt2", content="another")
    again = make(workspace, "models", name="gpt2")
    assert workspace.input_of(classifier, "models").reference == again.reference


def test_reuse_takes_the_newest_version_only_if_it_is_the_same(workspace):
    first = make(workspace, reuse=True)
    assert make(workspace, reuse=True).reference == first.reference
    assert make(workspace, content="other", reuse=True).reference == "prepared/v2"


def test_what_stands_in_for_something_is_inherited_and_never_reused_for_the_thing_itself(workspace):
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


def test_what_is_up_to_date_is_found_by_its_settings_and_the_content_of_its_inputs(workspace):
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


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("SMSSpamCollection", "smsspamcollection"),
        ("my data (1)", "my-data-1"),
        ("../../etc", "etc"),
        ("v3", "named-v3"),
        ("???", "named-"),
    ],
)
def test_names_of_artifacts_are_safe_folder_names(text, name):
    assert artifact_name(text) == name
