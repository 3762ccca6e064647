import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from spamgpt.data.tables import read_table
from spamgpt.errors import BadDataError, IntegrityError, MissingInputError
from spamgpt.gpt2.config import ModelFormatError
from spamgpt.stages import fetch
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
    yield folder
    assert list(folder.iterdir()) == []


def settings(dataset: Path, model: Path, **options) -> FetchSettings:
    return FetchSettings(str(dataset), str(model), **options)


def test_a_data_set_and_a_model_become_artifacts(workspace, messages_file, make_model):
    dataset, model = fetch.run(settings(messages_file, make_model()), workspace)
    assert dataset.reference == "datasets/messages/v1"
    assert dataset.counts["messages"] == 120
    assert dataset.counts["labels"] == {"ham": 80, "spam": 40}
    assert len(read_table(dataset.file("messages.csv"))) == 120
    assert model.reference == "models/tiny/v1"
    assert sorted(model.files) == ["config.json", "merges.txt", "model.safetensors", "vocab.json"]


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
    assert fetch.run(wanted, workspace)[0].reference == "datasets/messages/v2"


def test_a_collection_at_hand_is_not_downloaded(workspace, sms_collection, make_model):
    # There is no network in the tests: a download would fail.
    model = make_model()
    first, _ = fetch.run(settings(sms_collection, model), workspace)
    again, _ = fetch.run(FetchSettings(model=str(model)), workspace)
    assert again.reference == first.reference == "datasets/sms-spam-collection/v1"


def test_if_the_model_fails_nothing_is_written(workspace, messages_file, make_model):
    with pytest.raises(MissingInputError):
        fetch.run(settings(messages_file, make_model(weights=False)), workspace)
    assert not workspace.root.exists()
    with pytest.raises(MissingInputError):
        fetch.run(settings(messages_file, Path("none")), workspace)
    assert not workspace.root.exists()


def test_a_folder_with_another_model_is_refused_by_name(workspace, messages_file, make_model):
    source = make_model()
    config = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps(config | {"model_type": "llama"}))
    with pytest.raises(ModelFormatError, match="'llama' is not supported"):
        fetch.run(settings(messages_file, source), workspace)
    assert not workspace.root.exists()


def test_weights_that_do_not_fit_are_refused_when_fetched(workspace, messages_file, make_model):
    source = make_model()
    config = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps(config | {"n_layer": 3}))
    with pytest.raises(ModelFormatError, match=r"missing h\.2\."):
        fetch.run(settings(messages_file, source), workspace)


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
        fetch.run(FetchSettings(model=str(model)), workspace)


def test_the_command_fetches_from_mirrors_and_leaves_nothing_when_it_cannot(
    tmp_path, messages_file, make_model
):
    """The whole command against servers of its own: a mirror of the Hub and of a data set."""
    mirror = tmp_path / "mirror"
    repository = mirror / "me" / "tiny" / "resolve" / ("a" * 40)
    repository.parent.mkdir(parents=True)
    shutil.copytree(make_model(), repository)
    shutil.copy(messages_file, mirror / "chat.tsv")
    command = str(Path(sys.executable).with_name("spamgpt"))
    code = (
        "import functools, http.server, sys\n"
        "class Handler(http.server.SimpleHTTPRequestHandler):\n"
        "    def end_headers(self):\n"
        "        self.send_header('ETag', repr(self.path).replace(chr(39), chr(34)))\n"
        "        self.send_header('X-Repo-Commit', 'a' * 40)\n"
        "        super().end_headers()\n"
        "handler = functools.partial(Handler, directory=sys.argv[1])\n"
        "server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler)\n"
        "print(server.server_port, flush=True)\n"
        "server.serve_forever()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, mirror], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as server:
        url = f"http://127.0.0.1:{int(server.stdout.readline())}"
        environment = os.environ | {
            "HF_ENDPOINT": url,
            "HF_HOME": str(tmp_path / "hf"),
            "HF_HUB_OFFLINE": "0",
            "TMPDIR": tempfile.tempdir,
        }

        def run(*options: str) -> subprocess.CompletedProcess:
            return subprocess.run(
                [command, "fetch", "-w", tmp_path / "ws", *options],
                env=environment,
                capture_output=True,
                text=True,
            )

        dataset = ("--dataset", f"{url}/chat.tsv")
        failed = run(*dataset, "--model", f"hf:me/none@{'a' * 40}")
        assert failed.returncode == 5
        assert not (tmp_path / "ws").exists()
        error, hint = failed.stderr.splitlines()[-2:]
        assert error.startswith("error: config.json of me/none could not be downloaded")
        assert hint.startswith(" hint: ")
        done = run(*dataset, "--model", f"hf:me/tiny@{'a' * 40}")
        server.kill()
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()] == [
        "datasets/chat/v1",
        "models/me--tiny/v1",
    ]
