import pytest

from spamgpt.bundled import MESSAGES_FILE, MESSAGES_NAME, MINI_FOLDER, MINI_NAME
from spamgpt.errors import IntegrityError
from spamgpt.gpt2.folder import FINETUNING_FILE, MODEL_FILES
from spamgpt.sources.stored import (
    DatasetSource,
    ModelSource,
    find_model,
    newest_of,
    stored_dataset,
    stored_model,
)
from spamgpt.workspace import Workspace, sha256

MINI = ModelSource(MINI_NAME, "pretrained", None)


@pytest.fixture
def workspace(tmp_path) -> Workspace:
    return Workspace(tmp_path / "workspace")


def store_mini(workspace: Workspace, **changed: bytes) -> None:
    with workspace.new("models", MINI, name=MINI_NAME) as draft:
        for name in (*MODEL_FILES, FINETUNING_FILE):
            content = changed.get(name.partition(".")[0], (MINI_FOLDER / name).read_bytes())
            (draft.folder / name).write_bytes(content)


def store_messages(workspace: Workspace, source: str) -> None:
    with workspace.new("datasets", DatasetSource(source), name=source) as draft:
        (draft.folder / "messages.csv").write_bytes(MESSAGES_FILE.read_bytes())
        draft.metadata["sha256"] = sha256(MESSAGES_FILE)


def test_an_empty_workspace_has_nothing(workspace):
    assert newest_of("models", workspace) is None
    assert stored_model(MINI, workspace) is None
    assert stored_dataset(MESSAGES_NAME, workspace) is None


def test_the_bundled_model_of_another_version_is_not_taken_for_this_ones(workspace):
    store_mini(workspace)
    assert stored_model(MINI, workspace) == newest_of("models", workspace)
    store_mini(workspace, config=b"{}")
    assert stored_model(MINI, workspace) is None


def test_a_model_with_random_weights_is_not_the_pretrained_one(workspace):
    store_mini(workspace)
    assert stored_model(ModelSource(MINI_NAME, "random", 123), workspace) is None


def test_a_data_set_of_a_file_is_read_again_and_a_bundled_one_is_not(workspace):
    store_messages(workspace, MESSAGES_NAME)
    assert stored_dataset(MESSAGES_NAME, workspace) == newest_of("datasets", workspace)
    store_messages(workspace, "mine")
    assert stored_dataset("mine", workspace) is None


def test_a_damaged_artifact_is_told(workspace):
    store_messages(workspace, MESSAGES_NAME)
    file = newest_of("datasets", workspace).folder / "messages.csv"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(IntegrityError, match=r"messages\.csv is damaged"):
        stored_dataset(MESSAGES_NAME, workspace)
    with pytest.raises(IntegrityError, match=r"messages\.csv is damaged"):
        newest_of("datasets", workspace)


def test_a_model_is_found_by_name_and_by_where_its_weights_come_from(trained_workspace):
    workspace = Workspace(trained_workspace)
    assert find_model("tiny", "random", workspace) is None
    source = workspace.newest("models").settings["source"]
    with workspace.new("models", ModelSource(source, "random", 1), name="tiny") as draft:
        (draft.folder / "config.json").write_text("{}")
    for named in (None, "tiny", "tiny/v1", "models/tiny/v1"):
        found = find_model(named, "pretrained", workspace)
        assert found
        assert found.reference == "models/tiny/v1"
    drawn = find_model("tiny", "random", workspace)
    assert drawn
    assert drawn.reference == "models/tiny/v2"
    assert find_model("other", "pretrained", workspace) is None
