import os

import pytest

from spamgpt.errors import IntegrityError


def test_equal_content_has_an_equal_digest_and_other_content_another(workspace, make):
    first, second, third = make(workspace), make(workspace), make(workspace, content="other")
    assert first.digest == second.digest != third.digest


def test_a_missing_byte_is_noticed_and_the_file_named(workspace, make):
    artifact = make(workspace)
    (artifact.folder / "file.txt").write_text("conten")
    with pytest.raises(IntegrityError, match=r"file\.txt is damaged"):
        artifact.file("file.txt")


def test_a_flipped_byte_is_noticed_and_the_file_named(workspace, make):
    artifact = make(workspace)
    (artifact.folder / "file.txt").write_text("cOntent")
    with pytest.raises(IntegrityError, match=r"file\.txt is damaged"):
        artifact.file("file.txt")


def test_a_missing_file_is_noticed(workspace, make):
    artifact = make(workspace)
    (artifact.folder / "file.txt").unlink()
    with pytest.raises(IntegrityError, match=r"file\.txt is missing"):
        artifact.file("file.txt")


def test_a_file_with_the_recorded_size_and_time_is_trusted_until_all_is_hashed(workspace, make):
    artifact = make(workspace)
    path = artifact.folder / "file.txt"
    times = path.stat()
    path.write_text("cOntent")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    artifact.file("file.txt")
    with pytest.raises(IntegrityError, match=r"file\.txt is damaged"):
        artifact.check("file.txt", always_hash=True)


def test_a_copied_workspace_is_hashed_once_and_then_trusted(workspace, tmp_path, monkeypatch, make):
    artifact = make(workspace)
    os.utime(artifact.folder / "file.txt", ns=(1, 1))
    artifact.file("file.txt")
    monkeypatch.setattr(
        "spamgpt.workspace.artifact.sha256", lambda path: pytest.fail("hashed again")
    )
    artifact.file("file.txt")
