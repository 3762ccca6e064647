import json
from dataclasses import dataclass, field

import pytest

from spamgpt.errors import IntegrityError
from spamgpt.workspace import NO_EFFECT, artifact_name, result_settings


def test_an_artifact_records_how_it_was_made(workspace, make):
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


@pytest.mark.parametrize("position", [0, 1, 20, -2, -1])
def test_a_byte_missing_from_a_manifest_is_noticed_wherever_it_was(workspace, position, make):
    artifact = make(workspace)
    path = artifact.folder / "artifact.json"
    text = bytearray(path.read_bytes())
    del text[position]
    path.write_bytes(text)
    with pytest.raises(IntegrityError, match=r"artifact\.json is damaged"):
        workspace.newest("prepared")


def test_a_changed_number_in_a_manifest_is_noticed(workspace, make):
    artifact = make(workspace)
    path = artifact.folder / "artifact.json"
    path.write_text(path.read_text().replace('"letters": 7', '"letters": 8'))
    with pytest.raises(IntegrityError, match=r"artifact\.json is damaged"):
        workspace.newest("prepared")


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


def test_settings_that_do_not_change_a_result_are_known_by_their_field():
    @dataclass(frozen=True)
    class Settings:
        epochs: int = 5
        device: str = field(default="auto", metadata=NO_EFFECT)

    assert result_settings(Settings()) == {"epochs": 5}
