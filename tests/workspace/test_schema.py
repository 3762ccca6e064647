"""Manifests that something else wrote, each with a right checksum."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spamgpt.errors import IntegrityError
from spamgpt.workspace.manifest import manifest_bytes
from spamgpt.workspace.schema import problem_of


def forge(artifact, **changes: object) -> None:
    """Writes a manifest anew with other values; those that are `...` are left out."""
    path = artifact.folder / "artifact.json"
    values = json.loads(path.read_bytes()) | changes
    path.write_bytes(manifest_bytes({k: v for k, v in values.items() if v is not ...}))


FIELDS = [
    *("schema", "stage", "settings", "inputs", "counts", "files", "digest", "version"),
    *("spamgpt", "libraries", "created", "seconds"),
]


@pytest.mark.parametrize("value", [None, ..., [None], {"x": None}, -1, True, "", 1e999])
@pytest.mark.parametrize("field", FIELDS)
def test_a_field_that_is_null_missing_or_of_another_kind_is_damage(workspace, make, field, value):
    artifact = make(workspace)
    harmless = {
        "settings": ({"x": None},),
        "counts": ({"x": None},),
        "stage": ("",),
        "spamgpt": ("",),
        "schema": (True,),
        "seconds": (-1,),
    }
    forge(artifact, **{field: value})
    if value in harmless.get(field, ()):
        workspace.newest("prepared")
        return
    with pytest.raises(IntegrityError, match=rf"artifact\.json .*{field}"):
        workspace.newest("prepared")


@pytest.mark.parametrize(
    "changes",
    [
        {"files": {"../../elsewhere": {"size": 0, "mtime_ns": 0, "sha256": "0" * 64}}},
        {"files": {"a\0b": {"size": 0, "mtime_ns": 0, "sha256": "0" * 64}}},
        {"files": {"file.txt": {"size": None, "mtime_ns": 0, "sha256": "0" * 64}}},
        {"files": {"file.txt": {"size": 7, "mtime_ns": 10**30, "sha256": "0" * 64}}},
        {"files": {}},
        {"digest": "0" * 64},
        {"inputs": [{"artifact": None, "digest": "0" * 64}]},
        {"created": "0001-01-01T00:00:00+00:00"},
        {"created": "2026-01-01"},
        {"seconds": float("nan")},
        {"substitutions": [None]},
        {"sequence": "1"},
        {"counts": {"labels": None}},
        {"counts": {"splits": {"test": {"messages": 1, "labels": None}}}},
        {"counts": {"messages": float("inf")}},
    ],
)
def test_values_that_no_stage_writes_are_damage(workspace, make, changes):
    artifact = make(workspace)
    forge(artifact, **changes)
    with pytest.raises(IntegrityError, match="is no manifest of an artifact"):
        workspace.newest("prepared")


def test_what_is_not_recorded_is_damage_where_it_is_asked_for(workspace, make):
    artifact = make(workspace)
    with pytest.raises(IntegrityError, match="does not record 'splits'"):
        artifact.metadata["splits"]
    assert artifact.metadata.get("splits") is None
    with pytest.raises(IntegrityError, match="does not record 'seed'"):
        artifact.settings["seed"]


@pytest.mark.parametrize("text", [b"", b"null", b"[" * 100_000, b'{"a": ' + b"9" * 5000 + b"}"])
def test_a_manifest_that_is_no_manifest_is_damage(workspace, make, text):
    (make(workspace).folder / "artifact.json").write_bytes(text)
    with pytest.raises(IntegrityError, match=r"artifact\.json is damaged"):
        workspace.newest("prepared")


def test_a_manifest_that_cannot_be_read_is_damage(workspace, make):
    path = make(workspace).folder / "artifact.json"
    path.unlink()
    path.mkdir()
    with pytest.raises(IntegrityError, match=r"artifact\.json cannot be read: Is a directory"):
        workspace.newest("prepared")


def test_a_folder_in_the_place_of_a_file_is_damage(workspace, make):
    artifact = make(workspace)
    (artifact.folder / "file.txt").unlink()
    (artifact.folder / "file.txt").mkdir()
    with pytest.raises(IntegrityError, match=r"file\.txt is damaged: it is no file"):
        artifact.check("file.txt", always_hash=True)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(
    st.dictionaries(st.sampled_from([*FIELDS, "substitutions", "sequence"]), VALUES),
    st.sampled_from(["datasets", "models", "prepared", "classifiers", "sweeps", "predictions"]),
)
def test_any_values_at_all_are_judged(values, kind):
    assert isinstance(problem_of(values, kind), str | None)
