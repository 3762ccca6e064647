import hashlib
import json
import tempfile
from pathlib import Path

import pytest

from spamgpt.errors import IntegrityError, MissingInputError, NetworkError, UsageError
from spamgpt.gpt2.config import ModelFormatError
from spamgpt.gpt2.folder import MODEL_FILES, TOKENIZER_FILES
from spamgpt.reporting import SILENT, Reporter
from spamgpt.sources.models import PUBLISHED_MODELS, model_name, obtain_model

REVISION = "c" * 40  # of the model `small` on the hub of the tests

# The configuration of gpt2 as the Hub has it, to the byte.
GPT2_CONFIG = (Path(__file__).parents[1] / "gpt2_config.json").read_bytes()


class Listening(Reporter):
    def __init__(self) -> None:
        self.heard: list[str] = []

    def note(self, text: str) -> None:
        self.heard.append(text)


def path_of(name: str) -> str:
    return f"/owner/small/resolve/{REVISION}/{name}"


@pytest.fixture
def target(tmp_path):
    folder = tmp_path / "target"
    folder.mkdir()
    return folder


@pytest.fixture
def again(tmp_path):
    folder = tmp_path / "again"
    folder.mkdir()
    return folder


def test_the_files_come_with_their_hashes(hub, files, target):
    obtained = obtain_model("small", target, SILENT)
    assert {path.name: path.read_bytes() for path in target.iterdir()} == files
    assert obtained.digests["merges.txt"] == hashlib.sha256(files["merges.txt"]).hexdigest()
    assert obtained.origin == f"owner/small@{REVISION}"


def test_weights_are_not_fetched_when_they_are_not_wanted(hub, target):
    obtain_model("small", target, SILENT, with_weights=False)
    assert sorted(path.name for path in target.iterdir()) == sorted(
        set(MODEL_FILES) - {"model.safetensors"}
    )
    assert hub.gets("model.safetensors") == []


def test_a_broken_transfer_is_resumed_where_it_broke(hub, files, target):
    content = bytes(25_000_000)  # the library keeps what has come in chunks of 10 MiB
    hub.put_on_hub("me/large", "main", files)
    hub.put("/me/large/resolve/main/model.safetensors", content, truncate=21_000_000, times=1)
    obtain_model("hf:me/large@main", target, SILENT)
    assert (target / "model.safetensors").read_bytes() == content
    assert hub.gets("model.safetensors") == [None, f"bytes={20 << 20}-"]


def test_a_stalled_transfer_is_resumed(hub, files, target):
    content = files["model.safetensors"]
    hub.put(path_of("model.safetensors"), content, truncate=9000, times=1, stall=True)
    obtain_model("small", target, SILENT)
    assert (target / "model.safetensors").read_bytes() == content


def test_what_the_library_says_goes_to_the_reporter_and_nowhere_else(hub, files, target, capfd):
    hub.put(path_of("vocab.json"), files["vocab.json"], truncate=9000, times=1)
    reporter = Listening()
    obtain_model("small", target, reporter)
    assert reporter.heard[0] == f"Fetching owner/small at {REVISION[:12]} from the Hub"
    assert any("Trying to resume download" in text for text in reporter.heard)
    assert "\n" not in "".join(reporter.heard)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("stall", [False, True])
def test_a_transfer_that_never_ends_well_is_a_network_error(hub, files, target, cache, stall):
    content = files["model.safetensors"]
    hub.put(path_of("model.safetensors"), content, truncate=9000, stall=stall)
    with pytest.raises(NetworkError, match=r"model\.safetensors of owner/small") as caught:
        obtain_model("small", target, SILENT)
    assert "\n" not in caught.value.message
    assert caught.value.exit_status == 5
    assert not list(cache.rglob("*.incomplete"))


def test_what_the_cache_has_is_linked_without_a_request(hub, target, again, cache):
    obtain_model("small", target, SILENT)
    hub.requests.clear()
    obtain_model("small", again, SILENT)
    assert hub.requests == []
    for name in MODEL_FILES:
        (cached,) = cache.glob(f"models--owner--small/snapshots/*/{name}")
        assert (again / name).samefile(cached)  # one file on disk, not two
        assert not (again / name).is_symlink()  # it stays when the cache is emptied


def test_where_links_are_not_possible_files_are_copied(hub, files, cache):
    if not Path("/dev/shm").is_dir() or Path("/dev/shm").stat().st_dev == Path("/").stat().st_dev:
        pytest.skip("needs a second file system at /dev/shm")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as elsewhere:
        obtain_model("small", Path(elsewhere), SILENT)
        for name, content in files.items():
            assert (Path(elsewhere) / name).read_bytes() == content


def test_a_branch_is_taken_from_the_cache_when_the_hub_cannot_be_reached(
    hub, files, target, again, nowhere, use_endpoint
):
    hub.put_on_hub("me/my-gpt2", "main", files)
    obtain_model("hf:me/my-gpt2@main", target, SILENT)
    use_endpoint(nowhere)
    obtain_model("hf:me/my-gpt2@main", again, SILENT)
    assert (again / "merges.txt").samefile(target / "merges.txt")


def test_a_wrong_hash_is_told_and_the_file_fetched_anew_next_time(hub, files, target, again):
    hub.put(path_of("vocab.json"), b"not the vocabulary")
    with pytest.raises(IntegrityError) as caught:
        obtain_model("small", target, SILENT)
    assert hashlib.sha256(b"not the vocabulary").hexdigest() in caught.value.message
    assert hashlib.sha256(files["vocab.json"]).hexdigest() in caught.value.message
    hub.put(path_of("vocab.json"), files["vocab.json"])
    obtain_model("small", again, SILENT)
    assert (again / "vocab.json").read_bytes() == files["vocab.json"]


def test_a_file_that_rotted_in_the_cache_is_fetched_anew(hub, files, tmp_path, cache):
    first, second, third = (tmp_path / name for name in ("first", "second", "third"))
    for folder in (first, second, third):
        folder.mkdir()
    obtain_model("small", first, SILENT)
    (cached,) = cache.glob("models--owner--small/snapshots/*/vocab.json")
    cached.resolve().write_bytes(b"rot")  # under a name that the Hub gives to the right content
    with pytest.raises(IntegrityError, match=r"vocab\.json is not the published file"):
        obtain_model("small", second, SILENT)
    assert not cached.is_symlink()
    obtain_model("small", third, SILENT)
    assert (third / "vocab.json").read_bytes() == files["vocab.json"]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (
            {"status": 404, "code": "RepoNotFound"},
            f"the Hub has no public owner/small at {REVISION}",
        ),
        ({"status": 404, "code": "RevisionNotFound"}, "the Hub has no public owner/small at"),
        ({"status": 404, "code": "EntryNotFound"}, "the repository has no vocab.json"),
        ({"status": 404}, "the server answered 404 Not Found"),  # a mirror without such codes
        ({"status": 403}, "the server answered 403 Forbidden"),
        ({"status": 503}, "the server answered 503 Service Unavailable"),
        ({"silent": True}, "cannot be reached"),
    ],
)
def test_a_hub_that_does_not_serve_is_a_network_error(hub, target, answer, reason):
    hub.put(path_of("vocab.json"), **answer)
    with pytest.raises(NetworkError) as caught:
        obtain_model("small", target, SILENT)
    assert caught.value.message.startswith("vocab.json of owner/small could not be downloaded: ")
    assert reason in caught.value.message
    assert "\n" not in caught.value.message
    assert "folder" in caught.value.hint.lower()
    # A server that says nothing is asked once; hf_hub_download alone would ask seven times, and
    # six of them wait for a minute.
    if "silent" in answer:
        assert [path for _, path, _ in hub.requests].count(path_of("vocab.json")) == 1


def test_a_hub_that_was_busy_for_a_moment_is_asked_again(hub, files, target):
    hub.put(path_of("vocab.json"), files["vocab.json"], status=503, times=3)
    obtain_model("small", target, SILENT)
    assert (target / "vocab.json").read_bytes() == files["vocab.json"]


def test_a_hub_that_cannot_be_reached_is_a_network_error(hub, target, nowhere, use_endpoint):
    use_endpoint(nowhere)
    with pytest.raises(NetworkError, match=f"{nowhere} cannot be reached") as caught:
        obtain_model("small", target, SILENT)
    assert "HF_ENDPOINT" in caught.value.hint


def test_offline_mode_is_told_as_the_reason(hub, target, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(NetworkError, match="HF_HUB_OFFLINE"):
        obtain_model("small", target, SILENT)
    assert hub.requests == []


def test_what_is_not_the_hub_is_told_so(hub, target, server):
    # A portal of a hotel answers everything with 200 and a page of its own.
    server.put(path_of("config.json"), b"<html>Please log in</html>", commit=None)
    with pytest.raises(NetworkError, match="does not seem to be"):
        obtain_model("small", target, SILENT)


def test_other_repositories_are_named_with_their_revision(hub, files, target):
    hub.put_on_hub("me/my-gpt2", "v1.0", files)
    obtained = obtain_model("hf:me/my-gpt2@v1.0", target, SILENT)
    assert obtained.origin == "me/my-gpt2@v1.0"
    with pytest.raises(UsageError, match="a repository and a revision"):
        obtain_model("hf:me/my-gpt2", target, SILENT)


def test_another_architecture_is_refused_before_its_weights_are_downloaded(hub, files, target):
    llama = json.dumps({"model_type": "llama", "hidden_size": 4096}).encode()
    hub.put_on_hub("me/llama", "main", {"config.json": llama, "model.safetensors": bytes(9)})
    with pytest.raises(ModelFormatError, match="'llama' is not supported"):
        obtain_model("hf:me/llama@main", target, SILENT)
    assert hub.gets("model.safetensors") == []


def test_a_local_folder_is_copied_not_linked(target, make_model):
    source = make_model()
    obtain_model(str(source), target, SILENT)
    for name in MODEL_FILES:
        assert (target / name).read_bytes() == (source / name).read_bytes()
        assert not (target / name).samefile(source / name)


def test_what_a_local_folder_lacks_is_named(target, make_model):
    source = make_model(weights=False)
    with pytest.raises(MissingInputError, match=r"has no model\.safetensors") as caught:
        obtain_model(str(source), target, SILENT)
    assert "`weights=random`" in caught.value.hint
    (source / "vocab.json").unlink()
    with pytest.raises(MissingInputError, match=r"has no vocab\.json\."):
        obtain_model(str(source), target, SILENT, with_weights=False)


def test_a_local_folder_of_another_architecture_is_named_not_what_it_lacks(tmp_path, target):
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(ModelFormatError, match=r"config\.json: architecture 'llama'"):
        obtain_model(str(tmp_path), target, SILENT)


def test_names_of_models_are_those_of_their_sources(make_model):
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


def test_the_real_files_of_gpt2_have_the_pinned_hashes(
    server, cache, use_endpoint, gpt2_tokenizer_folder, target
):
    use_endpoint(server.url)
    gpt2 = PUBLISHED_MODELS["gpt2"]
    content = {name: (gpt2_tokenizer_folder / name).read_bytes() for name in TOKENIZER_FILES}
    content["config.json"] = GPT2_CONFIG
    server.put_on_hub(gpt2.repository, gpt2.revision, content)
    obtain_model("gpt2", target, SILENT, with_weights=False)
    assert {path.name: path.read_bytes() for path in target.iterdir()} == content


@pytest.mark.network
def test_the_real_hub_serves_what_is_pinned(cache, target):
    obtain_model("gpt2", target, SILENT)
    assert json.loads((target / "config.json").read_text())["n_layer"] == 12
