import hashlib
import json

import huggingface_hub.constants
import pytest

from spamgpt.errors import IntegrityError, MissingInputError, NetworkError, UsageError
from spamgpt.gpt2.folder import MODEL_FILES
from spamgpt.reporting import SILENT
from spamgpt.sources import models
from spamgpt.sources.models import PUBLISHED_MODELS, HubModel, model_name, obtain_model

REVISION = "c" * 40  # as the server says it is
FILES = {name: f"the content of {name} ".encode() * 1000 for name in MODEL_FILES}


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The Hub's cache, and the Hub at an address where nothing listens."""
    folder = tmp_path / "hub-cache"
    constants = huggingface_hub.constants
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 1)
    monkeypatch.setattr(constants, "HF_HUB_ETAG_TIMEOUT", 1)
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda seconds: None)
    return folder


@pytest.fixture
def hub(cache, server, monkeypatch):
    """A Hub with the model `small` at its pinned revision."""
    use_endpoint(monkeypatch, server.url)
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()}
    small = HubModel("small", "owner/small", REVISION, digests)
    monkeypatch.setattr(models, "PUBLISHED_MODELS", {"small": small})
    server.put_on_hub("owner/small", REVISION, FILES)
    return server


def use_endpoint(monkeypatch, url: str) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", url)
    template = url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)


@pytest.fixture
def target(tmp_path):
    folder = tmp_path / "target"
    folder.mkdir()
    return folder


def path_of(name: str) -> str:
    return f"/owner/small/resolve/{REVISION}/{name}"


def test_the_files_come_with_their_hashes(hub, target):
    obtained = obtain_model("small", target, SILENT)
    assert {path.name: path.read_bytes() for path in target.iterdir()} == FILES
    assert obtained.digests["merges.txt"] == hashlib.sha256(FILES["merges.txt"]).hexdigest()
    assert obtained.origin == f"owner/small@{REVISION}"


def test_weights_are_not_fetched_when_they_are_not_wanted(hub, target):
    obtain_model("small", target, SILENT, with_weights=False)
    assert sorted(path.name for path in target.iterdir()) == sorted(
        set(MODEL_FILES) - {"model.safetensors"}
    )
    assert hub.gets("model.safetensors") == []


def test_a_broken_transfer_is_resumed_where_it_broke(hub, target):
    content = bytes(25_000_000)  # the library keeps what has come in chunks of 10 MiB
    hub.put_on_hub("me/large", "main", FILES | {"model.safetensors": content})
    hub.put("/me/large/resolve/main/model.safetensors", content, truncate=21_000_000, times=1)
    obtain_model("hf:me/large@main", target, SILENT)
    assert (target / "model.safetensors").read_bytes() == content
    assert hub.gets("model.safetensors") == [None, f"bytes={20 << 20}-"]


def test_a_stalled_transfer_is_resumed(hub, target):
    content = FILES["model.safetensors"]
    hub.put(path_of("model.safetensors"), content, truncate=9000, times=1, stall=True)
    obtain_model("small", target, SILENT)
    assert (target / "model.safetensors").read_bytes() == content


def test_a_transfer_that_never_ends_well_is_a_network_error(hub, target, cache):
    hub.put(path_of("model.safetensors"), FILES["model.safetensors"], truncate=0)
    with pytest.raises(NetworkError, match=r"model\.safetensors of owner/small") as caught:
        obtain_model("small", target, SILENT)
    assert "\n" not in caught.value.message
    assert caught.value.exit_status == 5
    assert not list(cache.rglob("*.incomplete"))


def test_what_the_cache_has_is_linked_without_a_request(hub, target, tmp_path):
    obtain_model("small", target, SILENT)
    hub.requests.clear()
    again = tmp_path / "again"
    again.mkdir()
    obtain_model("small", again, SILENT)
    assert hub.requests == []
    for name in MODEL_FILES:
        assert (again / name).samefile(target / name)  # one file on disk


def test_where_links_are_not_possible_files_are_copied(hub, target, monkeypatch):
    def refuse(source: object, target: object) -> None:
        raise OSError("no hard links here")

    monkeypatch.setattr(models.os, "link", refuse)
    obtain_model("small", target, SILENT)
    assert (target / "merges.txt").read_bytes() == FILES["merges.txt"]


def test_a_wrong_hash_is_told_and_the_file_fetched_anew_next_time(hub, target, tmp_path):
    hub.put(path_of("vocab.json"), b"not the vocabulary")
    with pytest.raises(IntegrityError) as caught:
        obtain_model("small", target, SILENT)
    assert hashlib.sha256(b"not the vocabulary").hexdigest() in caught.value.message
    assert hashlib.sha256(FILES["vocab.json"]).hexdigest() in caught.value.message
    hub.put(path_of("vocab.json"), FILES["vocab.json"])
    again = tmp_path / "again"
    again.mkdir()
    obtain_model("small", again, SILENT)
    assert (again / "vocab.json").read_bytes() == FILES["vocab.json"]


@pytest.mark.parametrize(("status", "reason"), [(404, "no public"), (503, "cannot be reached")])
def test_a_hub_that_does_not_serve_is_a_network_error(hub, target, status, reason):
    hub.put(path_of("config.json"), status=status)
    with pytest.raises(NetworkError, match=reason) as caught:
        obtain_model("small", target, SILENT)
    assert "HF_ENDPOINT" in caught.value.hint


def test_a_hub_that_cannot_be_reached_is_a_network_error(hub, target, nowhere, monkeypatch):
    use_endpoint(monkeypatch, nowhere)
    with pytest.raises(NetworkError, match="cannot be reached"):
        obtain_model("small", target, SILENT)


def test_other_repositories_are_named_with_their_revision(hub, target):
    hub.put_on_hub("me/my-gpt2", "v1.0", FILES)
    obtained = obtain_model("hf:me/my-gpt2@v1.0", target, SILENT)
    assert obtained.origin == "me/my-gpt2@v1.0"
    with pytest.raises(UsageError, match="a repository and a revision"):
        obtain_model("hf:me/my-gpt2", target, SILENT)


def test_a_local_folder_is_copied_not_linked(tmp_path, target, make_model):
    source = make_model()
    obtain_model(str(source), target, SILENT)
    for name in MODEL_FILES:
        assert (target / name).read_bytes() == (source / name).read_bytes()
        assert not (target / name).samefile(source / name)


def test_what_a_local_folder_lacks_is_named(target, make_model):
    source = make_model(weights=False)
    with pytest.raises(MissingInputError, match=r"has no model\.safetensors") as caught:
        obtain_model(str(source), target, SILENT)
    assert "--weights random" in caught.value.hint
    (source / "vocab.json").unlink()
    with pytest.raises(MissingInputError, match=r"has no vocab\.json\."):
        obtain_model(str(source), target, SILENT, with_weights=False)


def test_names_of_models_are_those_of_their_sources(tmp_path, make_model):
    assert model_name("gpt2-xl") == "gpt2-xl"
    assert model_name("hf:me/My.GPT2@main") == "me--my.gpt2"
    assert model_name(str(make_model("My Model"))) == "my-model"
    with pytest.raises(MissingInputError) as caught:
        model_name("gpt3")
    assert "gpt2-medium" in caught.value.hint


def test_the_published_models_are_pinned():
    for name, model in PUBLISHED_MODELS.items():
        assert model.repository == f"openai-community/{name}"
        assert len(model.revision) == 40
        assert {"model.safetensors", "vocab.json", "merges.txt"} <= model.sha256.keys()


def test_the_published_tokenizer_hashes_are_those_of_the_real_files(gpt2_tokenizer_folder):
    for name in ("vocab.json", "merges.txt"):
        content = (gpt2_tokenizer_folder / name).read_bytes()
        assert hashlib.sha256(content).hexdigest() == PUBLISHED_MODELS["gpt2"].sha256[name]


@pytest.mark.network
def test_the_real_hub_serves_what_is_pinned(cache, target):
    obtain_model("gpt2", target, SILENT)
    assert json.loads((target / "config.json").read_text())["n_layer"] == 12
