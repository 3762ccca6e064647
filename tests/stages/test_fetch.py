import collections
import gzip
import json
import os
import socket
import tempfile
import threading
import zipfile
from pathlib import Path

import pandas as pd
import pytest
from safetensors.torch import load_file, save_file

from spamgpt.data.tables import read_table
from spamgpt.errors import (
    BadDataError,
    IntegrityError,
    NetworkError,
    SpamgptError,
    as_user_error,
)
from spamgpt.gpt2.config import ModelFormatError
from spamgpt.reporting import Reporter
from spamgpt.stages import fetch, prepare
from spamgpt.stages.fetch import FetchSettings
from spamgpt.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "workspace")


@pytest.fixture(autouse=True)
def downloads(tmp_path, monkeypatch) -> Path:
    """Where temporary files go; empty again after every test, whatever happened."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield folder
    # A folder of PyTorch's own appears with its first import.
    assert [path for path in folder.iterdir() if "torchinductor" not in path.name] == []


def settings(dataset: Path | str, model: Path | str, **options) -> FetchSettings:
    return FetchSettings(str(dataset), str(model), **options)


def test_a_data_set_and_a_model_become_artifacts(workspace, messages_file, make_model):
    dataset, model = fetch.run(settings(messages_file, make_model()), workspace)
    assert dataset.reference == "datasets/messages/v1"
    assert dataset.metadata["messages"] == 120
    assert dataset.metadata["labels"] == {"ham": 80, "spam": 40}
    assert len(read_table(dataset.file("messages.csv"))) == 120
    assert model.reference == "models/tiny/v1"
    assert sorted(model.files) == ["config.json", "merges.txt", "model.safetensors", "vocab.json"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("data.csv", 'label,text\nham,"see ""you"" at 5"\nspam,WIN\n'),
        ("data.tsv", 'label\ttext\nham\tsee "you" at 5\nspam\tWIN\n'),
        (
            "data.jsonl",
            '{"label":"ham","text":"see \\"you\\" at 5"}\n{"label":"spam","text":"WIN"}',
        ),
        ("data", 'ham\tsee "you" at 5\nspam\tWIN\n'),
    ],
)
def test_every_format_gives_the_same_data_set(workspace, tmp_path, make_model, name, content):
    (tmp_path / name).write_text(content)
    dataset, _ = fetch.run(settings(tmp_path / name, make_model()), workspace)
    assert dataset.name == "data"
    rows = dataset.file("messages.csv").read_text()
    assert rows == '"label","text"\n"ham","see ""you"" at 5"\n"spam","WIN"\n'


def test_parquet_and_excel_give_the_same_data_set(workspace, tmp_path, make_model):
    table = pd.DataFrame({"label": ["ham", "spam"], "text": ['see "you" at 5', "WIN"]})
    table.to_parquet(tmp_path / "data.parquet")
    table.to_excel(tmp_path / "data.xlsx", index=False)
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
        archive.write(tmp_path / "data.xlsx", "data.xlsx")
    model = make_model()
    for name in ("data.parquet", "data.xlsx", "data.zip"):
        dataset, _ = fetch.run(settings(tmp_path / name, model), workspace)
        assert dataset.metadata["origin"] == str(tmp_path / name)
        rows = dataset.file("messages.csv").read_text()
        assert rows == '"label","text"\n"ham","see ""you"" at 5"\n"spam","WIN"\n'


def test_a_folder_for_each_label_is_a_data_set(workspace, tmp_path, make_model):
    for label in ("bills", "orders", "returns"):
        (tmp_path / "Post 1" / label).mkdir(parents=True)
        (tmp_path / "Post 1" / label / "a.txt").write_text(f"about {label}\n")
    (tmp_path / "Post 1/bills/b.eml").write_text("Subject: Hi\n\nYour bill\n")
    dataset, _ = fetch.run(settings(tmp_path / "Post 1", make_model()), workspace)
    assert dataset.reference == "datasets/post-1/v1"
    assert dataset.metadata["labels"] == {"bills": 2, "orders": 1, "returns": 1}
    assert dataset.metadata["origin"] == str(tmp_path / "Post 1")
    table = read_table(dataset.file("messages.csv"))
    assert list(table["text"]) == ["about bills", "Hi\nYour bill", "about orders", "about returns"]


def test_paths_by_label_are_a_data_set(workspace, tmp_path, make_model):
    for name in ("junk", "inbox", "lists"):
        (tmp_path / name).write_text(f"From a Mon Nov  2 10:00:00 2026\nSubject: {name}\n\nhi\n")
    labelled = [("spam", "junk"), ("ham", "inbox"), ("ham", "lists")]
    paths = [(label, str(tmp_path / name)) for label, name in labelled]
    wanted = FetchSettings(model=str(make_model()), labelled=paths)
    dataset, _ = fetch.run(wanted, workspace)
    assert dataset.reference == "datasets/ham-spam/v1"
    assert dataset.metadata["labels"] == {"ham": 2, "spam": 1}
    assert dataset.settings["source"] == [f"{label}={path}" for label, path in paths]
    assert fetch.run(wanted, workspace)[0].reference == dataset.reference


def test_several_data_sets_are_joined_and_their_names_survive_prepare(
    workspace, tmp_path, make_model
):
    rows = [f"{label},{{name}} {label} {n}\n" for n in range(20) for label in ("ham", "spam")]
    for name in ("old/sms.csv", "new/sms.csv", "mail.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("label,text\n" + "".join(rows).format(name=name))
    (tmp_path / "junk.txt").write_text("WIN\n")
    sources = [str(tmp_path / name) for name in ("old/sms.csv", "new/sms.csv", "mail.csv")]
    labelled = [("spam", str(tmp_path / "junk.txt"))]
    wanted = FetchSettings(sources, str(make_model()), labelled=labelled)
    dataset, _ = fetch.run(wanted, workspace)
    assert dataset.reference == "datasets/sms-sms-2-mail-spam/v1"
    assert dataset.settings["source"] == [*sources, f"spam={tmp_path / 'junk.txt'}"]
    table = read_table(dataset.file("messages.csv"))
    assert list(table.columns) == ["label", "text", "source"]
    assert collections.Counter(table["source"]) == {"sms": 40, "sms-2": 40, "mail": 40, "spam": 1}
    assert set(table["text"][table["source"] == "sms-2"].str.split().str[0]) == {"new/sms.csv"}
    prepared = prepare.run(prepare.PrepareSettings(), workspace)
    assert set(read_table(prepared.file("train.csv"))["source"]) >= {"sms", "sms-2", "mail"}
    again, _ = fetch.run(wanted, workspace)
    assert again.reference == dataset.reference


def truncated(tmp_path: Path) -> Path:
    path = tmp_path / "a.parquet"
    pd.DataFrame({"label": ["a", "b"], "text": ["c", "d"]}).to_parquet(path)
    path.write_bytes(path.read_bytes()[:-10])
    return path


def encrypted(tmp_path: Path) -> Path:
    path = tmp_path / "a.xlsx"
    path.write_bytes(bytes.fromhex("d0cf11e0a1b11ae1") + bytes(1000))
    return path


def without_messages(tmp_path: Path) -> Path:
    (tmp_path / "folder").mkdir()
    return tmp_path / "folder"


def with_one_label(tmp_path: Path) -> Path:
    path = tmp_path / "a.csv"
    path.write_text("label,text\nham,a\nham,b\n")
    return path


def with_lists(tmp_path: Path) -> Path:
    path = tmp_path / "a.parquet"
    pd.DataFrame({"label": [["a", "b"], ["b"]], "text": ["c", "d"]}).to_parquet(path)
    return path


def in_latin_1(tmp_path: Path) -> Path:
    for label in ("ham", "spam"):
        (tmp_path / "folder" / label).mkdir(parents=True)
        (tmp_path / "folder" / label / "a.txt").write_bytes(b"caf\xe9")
    return tmp_path / "folder"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (truncated, "cannot be read as Parquet"),
        (encrypted, "is encrypted"),
        (without_messages, "no folders that are named after labels"),
        (with_one_label, "has only the label 'ham'"),
        (with_lists, "line 1: the label is a list"),
        (in_latin_1, r"ham/a\.txt, line 1: is not UTF-8"),
    ],
)
def test_broken_data_gets_one_line_and_nothing_is_written(
    workspace, tmp_path, make_model, make, message
):
    path = make(tmp_path)
    with pytest.raises(SpamgptError, match=message) as caught:
        fetch.run(settings(path, make_model()), workspace)
    assert str(path) in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.exit_status in (3, 4)
    assert not workspace.root.exists()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("data.csv.gz", 'label,text\nham,"see ""you"" at 5"\nspam,WIN\n'),
        ("DATA.TSV.GZ", 'label\ttext\nham\tsee "you" at 5\nspam\tWIN\n'),
        (
            "data.jsonl.gz",
            '{"label":"ham","text":"see \\"you\\" at 5"}\n{"label":"spam","text":"WIN"}',
        ),
        ("data.txt.gz", 'ham\tsee "you" at 5\nspam\tWIN\n'),
        ("data", 'ham\tsee "you" at 5\nspam\tWIN\n'),
    ],
)
def test_a_gzip_file_is_read_as_what_it_holds(workspace, tmp_path, make_model, name, content):
    (tmp_path / name).write_bytes(gzip.compress(content.encode()))
    dataset, _ = fetch.run(settings(tmp_path / name, make_model()), workspace)
    assert dataset.reference == "datasets/data/v1"
    assert dataset.metadata["origin"] == str(tmp_path / name)
    rows = dataset.file("messages.csv").read_text()
    assert rows == '"label","text"\n"ham","see ""you"" at 5"\n"spam","WIN"\n'


def test_a_damaged_or_endless_gzip_file_is_refused(workspace, tmp_path, make_model):
    whole, model = gzip.compress(b"ham\tsee you\n" * 1000), make_model()
    for content, message in (
        (whole[: len(whole) // 2], "cannot be unpacked"),
        (gzip.compress(bytes(100_000_001)), "more than the 100,000,000"),
    ):
        (tmp_path / "data.csv.gz").write_bytes(content)
        with pytest.raises(IntegrityError, match=rf"data\.csv\.gz .*{message}"):
            fetch.run(settings(tmp_path / "data.csv.gz", model), workspace)
    assert not workspace.root.exists()


def test_the_whole_real_collection_is_read(workspace, sms_collection, make_model):
    dataset, _ = fetch.run(settings(sms_collection, make_model()), workspace)
    assert dataset.metadata["messages"] == 5_574
    assert dataset.metadata["labels"] == {"ham": 4_827, "spam": 747}


def test_random_weights_are_drawn_from_the_seed(workspace, messages_file, make_model):
    source = make_model(weights=False)
    digests = [
        fetch.run(settings(messages_file, source, weights="random", seed=seed), workspace)[1].digest
        for seed in (1, 1, 2)
    ]
    assert digests[0] == digests[1] != digests[2]


def test_the_same_again_is_taken_from_the_workspace(workspace, messages_file, make_model):
    wanted = settings(messages_file, make_model())
    first = fetch.run(wanted, workspace)
    again = fetch.run(wanted, workspace)
    assert [a.reference for a in first] == [a.reference for a in again]
    messages_file.write_text(messages_file.read_text() + "ham\tone more\n")
    again = fetch.run(wanted, workspace)
    assert [a.reference for a in again] == ["datasets/messages/v2", "models/tiny/v1"]


def test_a_collection_at_hand_is_not_downloaded(workspace, sms_collection, make_model):
    # There is no network in the tests: a download would fail.
    model = make_model()
    first, _ = fetch.run(settings(sms_collection, model), workspace)
    again, _ = fetch.run(settings("sms-spam-collection", model), workspace)
    assert again.reference == first.reference == "datasets/sms-spam-collection/v1"


@pytest.mark.parametrize("kind", ["no folder", "no weights", "not a name", "not in reach"])
def test_if_the_model_fails_nothing_is_written(workspace, messages_file, make_model, kind):
    model, status = {
        "no folder": ("none", 3),
        "no weights": (make_model(weights=False), 3),
        "not a name": ("hf:owner-of-nothing", 2),
        "not in reach": ("hf:owner/of-nothing@main", 5),
    }[kind]
    with pytest.raises(SpamgptError) as caught:
        fetch.run(settings(messages_file, model), workspace)
    assert caught.value.exit_status == status
    assert not workspace.root.exists()


def test_if_the_data_set_fails_nothing_is_written(workspace, make_model):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = f"http://127.0.0.1:{closed.getsockname()[1]}/data.csv"
    with pytest.raises(NetworkError, match="cannot be reached"):
        fetch.run(settings(address, make_model()), workspace)
    assert not workspace.root.exists()


def test_a_folder_with_another_model_is_refused_by_name(workspace, messages_file, make_model):
    source = make_model()
    change_config(source, model_type="llama")
    with pytest.raises(ModelFormatError, match="'llama' is not supported") as caught:
        fetch.run(settings(messages_file, source), workspace)
    assert as_user_error(caught.value).exit_status == 4
    assert not workspace.root.exists()


def test_weights_that_do_not_fit_are_refused_when_fetched(workspace, messages_file, make_model):
    source = make_model()
    change_config(source, n_layer=3)
    with pytest.raises(ModelFormatError, match=r"missing h\.2\.") as caught:
        fetch.run(settings(messages_file, source), workspace)
    # The message names the user's folder, not one that is gone by then.
    assert str(source / "model.safetensors") in str(caught.value)
    assert str(workspace.root) not in str(caught.value)


def change_config(folder: Path, **values: object) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def test_a_bad_row_is_named_with_the_users_own_file(workspace, tmp_path, make_model):
    file = tmp_path / "mine.csv"
    for content, message in (
        ("label,text\nham,hi\n,no label\n", r"mine\.csv, line 3: has no label"),
        ("label,text\nham,hi,there\n", r"mine\.csv, line 2: has 3 fields"),
    ):
        file.write_text(content)
        with pytest.raises(BadDataError, match=message):
            fetch.run(settings(file, make_model("tiny" + str(len(content)))), workspace)
    assert not workspace.root.exists()


def test_a_damaged_artifact_is_not_taken_for_what_was_fetched(
    workspace, sms_collection, make_model
):
    model = make_model()
    dataset, _ = fetch.run(settings(sms_collection, model), workspace)
    path = dataset.folder / "messages.csv"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(IntegrityError, match=r"messages\.csv is damaged"):
        fetch.run(settings("sms-spam-collection", model), workspace)


@pytest.mark.parametrize(
    "content",
    [
        "ham\tsee you\nspam\tWIN\n",
        "label,text\nham,see you\nspam,WIN\n",
        '{"label": "ham", "text": "see you"}\n{"label": "spam", "text": "WIN"}\n',
    ],
)
@pytest.mark.parametrize("named", ["/dev/fd/{}", "{}/messages"])
def test_a_pipe_is_a_data_set(workspace, tmp_path, make_model, content, named):
    model = make_model()
    if named.startswith("/dev"):
        reading, writing = os.pipe()
        path = named.format(reading)
        os.write(writing, content.encode())
        os.close(writing)
    else:
        path = named.format(tmp_path)
        os.mkfifo(path)
        threading.Thread(target=Path(path).write_text, args=[content]).start()
    dataset, _ = fetch.run(settings(path, model), workspace)
    if named.startswith("/dev"):
        os.close(reading)
    name = "stream" if named.startswith("/dev") else "messages"
    assert dataset.reference == f"datasets/{name}/v1"
    rows = dataset.file("messages.csv").read_text()
    assert rows == '"label","text"\n"ham","see you"\n"spam","WIN"\n'


def test_a_pipe_without_end_is_refused(workspace, make_model, monkeypatch):
    monkeypatch.setattr("spamgpt.sources.datasets.LARGEST_DOWNLOAD", 10_000_000)
    with pytest.raises(BadDataError, match="/dev/zero gives more than the 10,000,000 bytes"):
        fetch.run(settings("/dev/zero", make_model()), workspace)
    assert not workspace.root.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("label;text\nham;see you\nspam;WIN\n", "separated by ';', not by commas"),
        ("label\ttext\nham\tsee you\n", r"separated by '\\t', not by commas"),
        ("text\nsee you\nWIN\n", "has one column, 'text': there are no labels"),
    ],
)
def test_a_table_that_can_have_no_labels_is_refused_when_fetched(
    workspace, tmp_path, make_model, content, message
):
    (tmp_path / "data.csv").write_text(content)
    with pytest.raises(BadDataError, match=rf"data\.csv .*{message}"):
        fetch.run(settings(tmp_path / "data.csv", make_model()), workspace)
    assert not workspace.root.exists()


def test_columns_to_be_named_later_are_told(workspace, tmp_path, make_model):
    told = []

    class Notes(Reporter):
        def note(self, text: str) -> None:
            told.append(text)

    (tmp_path / "data.csv").write_text("kind,text\nham,see you\nspam,WIN\n")
    fetch.run(settings(tmp_path / "data.csv", make_model()), workspace, Notes())
    assert [text.rpartition("data.csv ")[2] for text in told] == [
        "has no column 'label': say which one it is when you prepare it, with `label_column=NAME`"
    ]


def test_random_weights_that_no_memory_holds_are_refused_with_their_size(
    workspace, messages_file, make_model
):
    model = make_model(weights=False)
    change_config(model, n_embd=2_000_000, n_head=2, n_layer=12)
    with pytest.raises(BadDataError, match=r"576,[\d,]+ parameters take at least 2,304,\d+ GB"):
        fetch.run(settings(messages_file, model, weights="random"), workspace)
    assert not workspace.root.exists()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused_when_fetched(
    workspace, messages_file, make_model, value
):
    model = make_model()
    tensors = load_file(model / "model.safetensors")
    tensors["h.1.mlp.c_fc.weight"][3, 5] = value
    save_file(tensors, model / "model.safetensors")
    with pytest.raises(ModelFormatError, match=r"holds NaN or infinity in h\.1\.mlp\.c_fc\.weight"):
        fetch.run(settings(messages_file, model), workspace)
    assert not workspace.root.exists()
