"""Data sets of the Hub, which is a real server on 127.0.0.1 as far as loading one needs it."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import datasets
import pytest
from datasets import ClassLabel, Dataset, Features, List, Value

from spamgpt.errors import BadDataError, MissingInputError, NetworkError, SpamgptError, UsageError
from spamgpt.reporting import SILENT, Reporter
from spamgpt.sources.hub_datasets import HubDataset, write_hub_dataset
from spamgpt.workspace import Workspace

COMMIT = "d" * 40
SPAM = ClassLabel(names=["ham", "spam"])


def parquet(tmp_path: Path, columns: dict, **features) -> bytes:
    types = {name: features.get(name, Value("string")) for name in columns}
    path = tmp_path / "made.parquet"
    Dataset.from_dict(columns, features=Features(types)).to_parquet(path)
    return path.read_bytes()


@pytest.fixture
def hub(cache, server, use_endpoint, monkeypatch):
    """Puts a data set on the Hub: its files by name."""
    use_endpoint(server.url)
    monkeypatch.setattr(datasets.config, "HF_ENDPOINT", server.url)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)

    def put(repository: str, files: dict[str, bytes], revision: str | None = None) -> None:
        api = f"/api/datasets/{repository}"
        about = {
            "id": repository,
            "sha": COMMIT,
            "siblings": [{"rfilename": name} for name in files],
        }
        for at in ("", f"/revision/{COMMIT}", *([f"/revision/{revision}"] if revision else [])):
            server.put(api + at, json.dumps(about).encode())
        # Whether folders are asked for with all that is in them depends on the library's version.
        for whole in ("false", "true"):
            missing = f"{api}/tree/{COMMIT}/data?recursive={whole}&expand=false"
            server.put(missing, status=404, code="EntryNotFound")
        for folder in {"", *(str(Path(name).parent) for name in files)} - {"."}:
            tree = [
                {
                    "type": "file",
                    "path": name,
                    "size": len(content),
                    "oid": hashlib.sha1(content).hexdigest(),
                }
                for name, content in files.items()
                if str(Path(name).parent) == (folder or ".")
            ]
            if not folder:
                inner = {str(Path(name).parent) for name in files} - {"."}
                tree += [{"type": "directory", "path": each, "oid": ""} for each in inner]
            at = f"{api}/tree/{COMMIT}" + (f"/{folder}" if folder else "")
            for whole in ("false", *(["true"] if folder else [])):
                server.put(f"{at}?recursive={whole}&expand=false", json.dumps(tree).encode())
        asked_for = ("README.md", f"{Path(repository).name}.py", ".huggingface.yaml")
        for name in (*asked_for, "dataset_infos.json"):
            path = f"/datasets/{repository}/resolve/{COMMIT}/{name}"
            server.put(path, status=404, code="EntryNotFound")
        for name, content in files.items():
            server.put(f"/datasets/{repository}/resolve/{COMMIT}/{name}", content, commit=COMMIT)

    return put


@pytest.fixture
def load(tmp_path):
    """Loads a data set: its rows, its origin and what was told."""

    class Heard(Reporter):
        def note(self, text: str) -> None:
            told.append(text)

    told: list[str] = []

    def run(source: str) -> tuple[list[dict], str]:
        folder = tmp_path / "downloads"
        folder.mkdir()
        file = folder / "messages.jsonl"
        try:
            origin = write_hub_dataset(HubDataset.parse(source), file, Heard())
            return [json.loads(line) for line in file.read_text("utf-8").splitlines()], origin
        finally:
            shutil.rmtree(folder)

    run.told = told
    return run


def test_all_splits_come_with_the_names_of_labels(hub, load, tmp_path):
    columns = {"sms": ["see you", "WIN"], "label": [0, 1]}
    files = {
        "data/train-00000-of-00001.parquet": parquet(tmp_path, columns, label=SPAM),
        "data/test-00000-of-00001.parquet": parquet(
            tmp_path, {"sms": ["hi"], "label": [0]}, label=SPAM
        ),
    }
    hub("owner/sms", files)
    rows, origin = load("hf:owner/sms")
    assert rows == [
        {"text": "see you", "label": "ham", "split": "train"},
        {"text": "WIN", "label": "spam", "split": "train"},
        {"text": "hi", "label": "ham", "split": "test"},
    ]
    assert origin == f"owner/sms@{COMMIT}"
    assert any("text from 'sms'" in text for text in load.told)


def test_a_revision_and_a_configuration_can_be_named(hub, load, server):
    card = (
        "---\nconfigs:\n- config_name: small\n  data_files: small.csv\n"
        "- config_name: large\n  data_files: large.csv\n---\n"
    )
    files = {
        "README.md": card.encode(),
        "small.csv": b"label,text\nham,hi\n",
        "large.csv": b"label,text\nspam,WIN\n",
    }
    hub("owner/sms", files, revision="v2")
    rows, origin = load("hf:owner/sms:large@v2")
    assert rows == [{"label": "spam", "text": "WIN"}]
    assert origin == f"owner/sms:large@{COMMIT}"
    assert any(path.endswith("/revision/v2") for _, path, _ in server.requests)
    with pytest.raises(BadDataError, match=r"cannot be loaded: .*small.*large"):
        load("hf:owner/sms:none@v2")


def test_the_installed_command_fetches_from_the_hub_that_it_is_told(
    hub, server, tmp_path, make_model
):
    columns = {"sms": ["see you", "WIN"], "label": [0, 1]}
    hub("owner/sms", {"train.parquet": parquet(tmp_path, columns, label=SPAM)})
    environment = {
        "HF_ENDPOINT": server.url,
        "HF_HOME": str(tmp_path / "hf"),
        "HF_HUB_OFFLINE": "0",
    }
    command = [Path(sys.executable).with_name("spamgpt"), "fetch", "--quiet", "-w", "ws"]
    done = subprocess.run(
        [*command, "--dataset", "hf:owner/sms", "--model", make_model()],
        cwd=tmp_path,
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    dataset = Workspace(tmp_path / "ws").newest("datasets")
    assert dataset.reference == "datasets/owner--sms/v1"
    assert dataset.metadata["labels"] == {"ham": 1, "spam": 1}
    assert dataset.metadata["origin"] == f"owner/sms@{COMMIT}"


def test_a_split_without_labels_is_left_out(hub, load, tmp_path):
    files = {
        "train.parquet": parquet(tmp_path, {"text": ["hi"], "label": [1]}, label=SPAM),
        "test.parquet": parquet(tmp_path, {"text": ["hidden"], "label": [-1]}, label=SPAM),
    }
    hub("owner/sms", files)
    rows, _ = load("hf:owner/sms")
    assert rows == [{"text": "hi", "label": "spam", "split": "train"}]
    assert any("split 'test' has no labels" in text for text in load.told)


def test_where_more_than_one_column_could_be_meant_all_keep_their_names(hub, load):
    hub("owner/mail", {"train.csv": b"subject,body,kind\na,b,c\n"})
    rows, _ = load("hf:owner/mail")
    assert rows == [{"subject": "a", "body": "b", "kind": "c"}]


def test_lists_of_labels_come_as_lists(hub, load, tmp_path):
    columns = {"text": ["a"], "labels": [[0, 1]]}
    content = parquet(tmp_path, columns, labels=List(SPAM))
    hub("owner/emotions", {"train.parquet": content})
    rows, _ = load("hf:owner/emotions")
    assert rows == [{"text": "a", "label": ["ham", "spam"]}]


def test_what_is_not_there_is_told(hub, load, tmp_path, monkeypatch):
    hub("owner/sms", {"train.csv": b"label,text\nham,hi\n"})
    for source, message in (
        ("hf:owner/none", "owner/none could not be downloaded: the Hub has no public"),
        ("hf:owner/sms@v9", "the Hub has no public data set of this name at v9"),
    ):
        with pytest.raises(NetworkError, match=message):
            load(source)


@pytest.mark.parametrize(
    "files",
    [
        {"train.parquet": b"PAR1 and no more"},
        {"train.csv": b'label,text\nham,"hi\n'},
        {"train.jsonl": b'{"label": '},
        {"sms.py": b"print()"},
        {"notes.md": b"nothing"},
    ],
)
def test_what_cannot_be_loaded_is_told_in_one_line(hub, load, files, capfd):
    hub("owner/sms", files)
    with pytest.raises(SpamgptError, match="owner/sms") as told:
        load("hf:owner/sms")
    assert told.value.exit_status == 4
    assert capfd.readouterr().err == ""
    assert "\n" not in told.value.message


def test_a_hub_out_of_reach_is_told(cache, nowhere, use_endpoint, load, monkeypatch):
    use_endpoint(nowhere)
    with pytest.raises(NetworkError, match="owner/sms could not be downloaded") as told:
        load("hf:owner/sms")
    assert "\n" not in told.value.message
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(NetworkError, match="owner/sms could not be downloaded"):
        load("hf:owner/sms")


@pytest.mark.parametrize("source", ["hf:sms", "hf:a/b/c", "hf:a/b@", "hf:a/b:", "hf:../..:x/y"])
def test_a_name_that_is_none_is_told(source):
    with pytest.raises(UsageError, match="does not name a repository"):
        HubDataset.parse(source)


def test_the_names_of_artifacts_tell_the_configuration():
    assert HubDataset.parse("hf:owner/sms").name == "owner--sms"
    assert HubDataset.parse("hf:Owner/sms:en@v1") == HubDataset("Owner/sms", "en", "v1")
    assert HubDataset.parse("hf:Owner/sms:en@v1").name == "owner--sms--en"


def test_a_folder_of_the_same_name_is_not_taken_for_it(tmp_path, load, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "owner/sms").mkdir(parents=True)
    with pytest.raises(UsageError, match="The folder owner/sms here"):
        load("hf:owner/sms")


def test_the_missing_library_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingInputError, match="datasets") as told:
        write_hub_dataset(HubDataset.parse("hf:owner/sms"), tmp_path / "a", SILENT)
    assert "'spamgpt[hub]'" in told.value.hint
