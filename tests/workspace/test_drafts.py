import shutil
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Settings:
    shape: str = "round"


def everything_in(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_versions_count_up_and_numbers_of_deleted_artifacts_are_not_used_again(workspace, make):
    make(workspace)
    second = make(workspace)
    shutil.rmtree(second.folder)
    assert make(workspace).reference == "prepared/v3"


def test_a_failing_first_run_leaves_nothing_behind(workspace):
    with pytest.raises(ZeroDivisionError), workspace.new("prepared", Settings()) as draft:
        (draft.folder / "file.txt").write_text("half")
        raise ZeroDivisionError
    assert not workspace.root.exists()


def test_a_failing_run_leaves_what_was_there_as_it_was(workspace, make):
    artifact = make(workspace)
    before = everything_in(workspace.root)
    with pytest.raises(ZeroDivisionError), workspace.new("prepared", Settings()):
        raise ZeroDivisionError
    assert everything_in(workspace.root) == before
    assert workspace.newest("prepared").digest == artifact.digest


def test_a_damaged_counter_does_no_harm(workspace, make):
    make(workspace)
    (workspace.root / "prepared" / ".last-version").write_text("")
    assert make(workspace).reference == "prepared/v2"


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


def test_the_draft_of_a_killed_run_is_removed_by_the_next_and_one_in_use_is_kept(workspace, make):
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
