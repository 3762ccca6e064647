"""`spamgpt fetch` against servers: what a user sees, and what is on the disk afterwards."""

import dataclasses
import functools
import gzip
import hashlib
import io
import json
import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from spamgpt.cli import main
from spamgpt.sources import datasets, models
from spamgpt.stages import finetune
from spamgpt.workspace import Workspace

TSV = b'ham\tsee "you" at 5\nspam\tWIN a prize\n'
CSV = b'label,text\nham,"see ""you"" at 5"\nspam,WIN a prize\n'
JSONL = (
    b'{"label": "ham", "text": "see \\"you\\" at 5"}\n{"label": "spam", "text": "WIN a prize"}\n'
)


def zipped(member: str, content: bytes) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(member, content)
    return archive.getvalue()


@pytest.fixture
def workspace(tmp_path) -> Workspace:
    return Workspace(tmp_path / "workspace")


@pytest.fixture
def fetch(workspace, monkeypatch, capfd):
    """Runs `spamgpt fetch --quiet` in this process: its exit status and standard error."""

    def run(*options: object) -> tuple[int, list[str]]:
        command = ["spamgpt", "fetch", "--quiet", "-w", workspace.root, *options]
        monkeypatch.setattr(sys, "argv", [str(word) for word in command])
        capfd.readouterr()
        with pytest.raises(SystemExit) as caught:
            main()
        return int(caught.value.code or 0), capfd.readouterr().err.splitlines()

    return run


@pytest.fixture
def published(server, monkeypatch):
    """The published collection with addresses on the server: at both there is nothing so far."""
    collection = datasets.PublishedDataset(
        "sms-spam-collection",
        (f"{server.url}/official/sms.zip", f"{server.url}/backup/sms.zip"),
        "SMSSpamCollection",
        hashlib.sha256(TSV).hexdigest(),
    )
    monkeypatch.setattr(datasets, "SMS_SPAM_COLLECTION", collection)
    obtain = functools.partial(datasets.obtain_dataset, published=collection)
    monkeypatch.setattr(datasets, "obtain_dataset", obtain)
    return collection


def assert_told_in_two_lines(outcome: tuple[int, list[str]], *reasons: str) -> None:
    status, lines = outcome
    assert status == 5
    assert len(lines) == 2
    assert lines[0].startswith("error: ")
    assert lines[1].startswith(" hint: ")
    for reason in reasons:
        assert reason in lines[0]


GOOD = zipped("SMSSpamCollection", TSV)
FAULTS = [
    ({"status": 404}, "answered 404"),
    ({"status": 503}, "answered 503"),
    ({"content": GOOD, "truncate": 50}, "ended before the whole file had come"),
    ({"content": GOOD, "truncate": 50, "stall": True}, "did not answer within 1 seconds"),
    ({"silent": True}, "did not answer within 1 seconds"),
    ({"content": GOOD[:-20]}, "cannot be unpacked"),
    ({"content": zipped("../SMSSpamCollection", TSV)}, "leads out of its folder"),
    ({"content": zipped("SMSSpamCollection", TSV + TSV)}, "is not the published file"),
    ({"content": zipped("SMSSpamCollection", bytes(100_000_001))}, "more than the 100,000,000"),
]


@pytest.mark.parametrize(("fault", "reason"), FAULTS)
def test_a_data_set_that_does_not_come_leaves_two_lines_and_nothing_else(
    fetch, hub, workspace, fault, reason
):
    url = hub.put("/collection.zip", **fault)
    assert_told_in_two_lines(fetch("--dataset", url, "--model", "small"), url, reason)
    assert not workspace.root.exists()


def test_a_data_set_out_of_reach_leaves_two_lines_and_nothing_else(
    fetch, hub, workspace, nowhere, published
):
    outcome = fetch("--dataset", f"{nowhere}/data.csv", "--model", "small")
    assert_told_in_two_lines(outcome, "the server cannot be reached")
    assert not workspace.root.exists()


def test_both_addresses_of_the_collection_are_told_with_their_reasons(
    fetch, hub, workspace, published
):
    hub.put("/official/sms.zip", GOOD, truncate=50)
    hub.put("/backup/sms.zip", zipped("SMSSpamCollection", TSV + b"!"))
    outcome = fetch("--model", "small", "--dataset", "sms-spam-collection")
    assert_told_in_two_lines(outcome, *published.urls, "ended before", "is not the published file")
    assert not workspace.root.exists()


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ({"status": 404, "code": "RepoNotFound"}, "no public owner/small"),
        ({"status": 404, "code": "RevisionNotFound"}, "no public owner/small at cccc"),
        ({"status": 404, "code": "EntryNotFound"}, "has no merges.txt"),
        ({"status": 503}, "answered 503"),
        ({"content": b"merges" * 999, "truncate": 50}, "without sending complete message body"),
        ({"silent": True}, "cannot be reached"),
        ({"content": b"other merges"}, "is not the published file"),
    ],
)
def test_a_model_that_does_not_come_leaves_two_lines_and_nothing_else(
    fetch, hub, workspace, cache, fault, reason
):
    data = hub.put("/data.csv", CSV)
    hub.put(f"/owner/small/resolve/{'c' * 40}/merges.txt", **fault)
    assert_told_in_two_lines(fetch("--dataset", data, "--model", "small"), "merges.txt", reason)
    assert not workspace.root.exists()
    assert not list(cache.rglob("*.incomplete"))


def test_a_hub_out_of_reach_leaves_two_lines_and_nothing_else(
    fetch, hub, workspace, nowhere, use_endpoint
):
    data = hub.put("/data.csv", CSV)
    use_endpoint(nowhere)
    outcome = fetch("--dataset", data, "--model", "small")
    assert_told_in_two_lines(outcome, f"{nowhere} cannot be reached")
    assert not workspace.root.exists()


def test_a_failure_leaves_earlier_artifacts_as_they_were(fetch, hub, workspace):
    data = hub.put("/data.csv", CSV)
    assert fetch("--dataset", data, "--model", "small") == (0, [])
    before = {path: path.stat() for path in workspace.root.rglob("*")}
    hub.put("/data.csv", CSV, truncate=9)
    assert fetch("--dataset", data, "--model", "small")[0] == 5
    assert fetch("--dataset", hub.put("/new.csv", CSV), "--model", "hf:me/none@main")[0] == 5
    after = {path: path.stat() for path in workspace.root.rglob("*") if path.name != ".lock"}
    assert {path: status.st_mtime_ns for path, status in after.items() if path.is_file()} == {
        path: status.st_mtime_ns
        for path, status in before.items()
        if path.is_file() and path.name != ".lock"
    }


@pytest.mark.parametrize(
    ("address", "content"),
    [
        ("/data.csv", CSV),
        ("/data.tsv?download=1", TSV),
        ("/data.jsonl", JSONL),
        ("/data.csv.gz", gzip.compress(CSV, mtime=0)),
        ("/data", TSV),
        ("/archive.zip", zipped("folder/data.csv", CSV)),
    ],
)
def test_a_data_set_comes_from_a_url_in_any_format(fetch, hub, workspace, address, content):
    url = hub.put(address, content)
    assert fetch("--dataset", url, "--model", "small") == (0, [])
    data = workspace.newest("datasets")
    assert data.reference == "datasets/data/v1"
    assert data.metadata["origin"] == url.replace("download=1", "download=***")
    rows = data.file("messages.csv").read_text()
    assert rows == '"label","text"\n"ham","see ""you"" at 5"\n"spam","WIN a prize"\n'


def test_what_was_fetched_is_not_fetched_again(fetch, hub, workspace, cache, published):
    hub.put("/backup/sms.zip", GOOD)
    assert fetch("--model", "small") == (0, [])
    (cached,) = cache.glob("models--owner--small/snapshots/*/model.safetensors")
    assert (workspace.root / "models/small/v1/model.safetensors").samefile(cached)
    hub.requests.clear()
    assert fetch("--model", "small") == (0, [])
    assert hub.requests == []
    folders = [str(folder.relative_to(workspace.root)) for folder in workspace.folders()]
    assert folders == ["datasets/sms-spam-collection/v1", "models/small/v1"]


def test_the_rest_is_fetched_when_a_part_is_there(fetch, hub, workspace, published):
    hub.put("/official/sms.zip", GOOD)
    assert fetch("--model", "small") == (0, [])
    hub.requests.clear()
    assert fetch("--dataset", hub.put("/data.csv", CSV), "--model", "small") == (0, [])
    assert [path for _, path, _ in hub.requests] == ["/data.csv"]
    assert len(workspace.folders("models")) == 1


def test_a_name_that_does_not_exist_is_told_before_anything_is_downloaded(fetch, hub, published):
    for model, status in (("gpt3", 3), ("hf:owner/small", 2)):
        assert fetch("--model", model)[0] == status
    assert hub.requests == []


def bundled(workspace: Workspace) -> list[str]:
    return [str(folder.relative_to(workspace.root)) for folder in workspace.folders()]


def test_where_nothing_answers_the_bundled_ones_stand_in_and_all_later_stages_say_so(
    fetch, workspace, nowhere, use_endpoint, published, monkeypatch, capfd
):
    monkeypatch.setattr(
        datasets, "SMS_SPAM_COLLECTION", dataclasses.replace(published, urls=(nowhere,) * 2)
    )
    use_endpoint(nowhere)
    status, lines = fetch()
    assert status == 0
    assert len(lines) == 4
    for wanted, used, (why, what) in (
        ("sms-spam-collection", "bundled-messages", lines[:2]),
        ("gpt2", "mini", lines[2:]),
    ):
        assert wanted in why
        assert "no server answered" in why
        assert f"{used} INSTEAD" in what
        assert "--offline" in what
    dataset, model = workspace.newest("datasets"), workspace.newest("models")
    assert (dataset.name, model.name) == ("bundled-messages", "mini")
    assert model.metadata["in_place_of"] == {"wanted": "gpt2", "reason": "no server answered"}
    monkeypatch.setattr(sys, "argv", ["spamgpt", "prepare", "-q", "-w", str(workspace.root)])
    with pytest.raises(SystemExit) as caught:
        main()
    assert not caught.value.code
    assert "stands in for the data set sms-spam-collection" in capfd.readouterr().err
    planned = finetune.plan(finetune.FinetuneSettings(), workspace)
    with workspace.new(
        "classifiers", finetune.FinetuneSettings(), [planned.prepared, planned.model]
    ) as draft:
        pass
    assert [text.split(",")[0] for text in draft.artifact.substitutions] == [
        "bundled-messages",
        "mini",
    ]


def test_a_silent_network_is_noticed_within_ten_seconds(
    fetch, workspace, server, use_endpoint, published
):
    for url in published.urls:
        server.put(url.removeprefix(server.url), silent=True)
    server.put("", silent=True)
    server.put("/", silent=True)
    use_endpoint(server.url)
    started = time.monotonic()
    assert fetch()[0] == 0
    assert time.monotonic() - started < 10
    assert bundled(workspace) == ["datasets/bundled-messages/v1", "models/mini/v1"]


def test_only_what_cannot_be_had_is_substituted(fetch, workspace, hub, published, monkeypatch):
    hub.put("/official/sms.zip", GOOD)
    # The Hub of the tests has no gpt2.
    gpt2 = models.HubModel("gpt2", "openai-community/gpt2", "c" * 40, {})
    monkeypatch.setattr(models, "PUBLISHED_MODELS", {"gpt2": gpt2})
    status, lines = fetch()
    assert status == 0
    assert len(lines) == 2
    assert "the Hub has no public openai-community/gpt2" in lines[0]
    assert bundled(workspace) == ["datasets/sms-spam-collection/v1", "models/mini/v1"]
    assert workspace.newest("datasets").substitutions == []


def test_what_is_named_is_never_substituted(fetch, workspace, hub, nowhere, use_endpoint):
    use_endpoint(nowhere)
    outcome = fetch("--model", "small", "--dataset", "bundled-messages")
    assert_told_in_two_lines(outcome, "cannot be reached")
    assert not workspace.root.exists()


def test_a_file_that_is_not_the_published_one_is_no_reason_to_substitute(
    fetch, workspace, hub, published
):
    for url in published.urls:
        hub.put(url.removeprefix(hub.url), zipped("SMSSpamCollection", TSV + b"!"))
    assert_told_in_two_lines(fetch(), "is not the published file")
    assert not workspace.root.exists()


def test_offline_does_not_try_the_network(fetch, workspace, hub, published):
    assert fetch("--offline") == (0, [])
    assert hub.requests == []
    assert bundled(workspace) == ["datasets/bundled-messages/v1", "models/mini/v1"]
    assert fetch("--offline") == (0, [])
    assert len(workspace.folders()) == 2


def test_what_stood_in_is_not_taken_for_what_was_asked_for(
    fetch, workspace, nowhere, use_endpoint, published, monkeypatch
):
    monkeypatch.setattr(
        datasets, "SMS_SPAM_COLLECTION", dataclasses.replace(published, urls=(nowhere,))
    )
    use_endpoint(nowhere)
    assert fetch()[0] == 0
    assert fetch("--offline") == (0, [])
    assert workspace.newest("models").reference == "models/mini/v2"
    assert workspace.newest("models").substitutions == []
    # And the network back, it is tried again.
    assert len(fetch()[1]) == 4


def test_naming_one_thing_leaves_the_other_as_it_is(fetch, workspace, hub):
    assert fetch("--offline") == (0, [])
    data = hub.put("/data.csv", CSV)
    assert fetch("--dataset", data) == (0, [])
    assert bundled(workspace) == [
        "datasets/bundled-messages/v1", "datasets/data/v1", "models/mini/v1",
    ]  # fmt: skip


def test_the_installed_command_uses_the_mirrors_it_is_told(
    server, tmp_path, make_model, sms_collection
):
    source, commit = make_model(), "a" * 40
    files = {path.name: path.read_bytes() for path in source.iterdir()}
    server.put_on_hub("me/tiny", commit, files)
    mirror = server.put("/mirror.zip", zipped("SMSSpamCollection", sms_collection.read_bytes()))
    environment = {
        "HF_ENDPOINT": server.url,
        "HF_HOME": str(tmp_path / "hf"),
        "HF_HUB_OFFLINE": "0",
    }
    command, model = Path(sys.executable).with_name("spamgpt"), f"hf:me/tiny@{commit}"
    done = subprocess.run(
        [command, "fetch", "--json", "-w", "ws", "--dataset", mirror, "--model", model],
        cwd=tmp_path,
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    fetched = json.loads(done.stdout)
    assert fetched["dataset"]["artifact"] == "datasets/sms-spam-collection/v1"
    assert fetched["model"]["artifact"] == "models/me--tiny/v1"
    (cached,) = (tmp_path / "hf").rglob("model.safetensors")
    assert (tmp_path / "ws/models/me--tiny/v1/model.safetensors").samefile(cached)


@pytest.mark.parametrize("served", [True, False])
def test_a_password_and_a_key_in_an_address_are_used_and_neither_kept_nor_shown(
    workspace, hub, monkeypatch, capfd, served
):
    path = "/data.csv?token=geheim&v=1"
    hub.put(path, CSV, status=200 if served else 403)
    url = f"{hub.url.replace('//', '//user:geheim@')}{path}#geheim"
    command = ["spamgpt", "fetch", "-w", workspace.root, "--debug", "--dataset", url]
    monkeypatch.setattr(sys, "argv", [*map(str, command), "--model", "small"])
    with pytest.raises(SystemExit) as caught:
        main()
    assert bool(caught.value.code) == (not served)
    out, err = capfd.readouterr()
    shown = f"{hub.url.replace('//', '//***@')}/data.csv?token=***&v=***#***"
    assert f"Downloading {shown}" in err
    assert hub.gets("/data.csv?token=geheim&v=1")
    assert "geheim" not in out + err
    if served:
        found = workspace.newest("datasets")
        assert found.settings == {"source": shown}
        assert found.metadata["origin"] == shown
    else:
        assert f"{shown} could not be downloaded: the server answered 403" in err
    assert not [file for file in workspace.root.rglob("*.*") if b"geheim" in file.read_bytes()]


def test_the_encoding_of_a_data_file_is_guessed_in_the_error_and_can_be_named(
    fetch, workspace, tmp_path
):
    file = tmp_path / "a.csv"
    file.write_bytes("label,text\nham,see you at the café\nspam,WIN a prize\n".encode("cp1252"))
    status, err = fetch("--dataset", file, "--model", "mini")
    assert status == 4
    assert "--encoding cp1252" in err[-1]
    assert fetch("--dataset", file, "--model", "mini", "--encoding", "cp1252") == (0, [])
    messages = workspace.newest("datasets").file("messages.csv").read_text(encoding="utf-8")
    assert "café" in messages
