"""Classifiers to and from a Hub that is a real server on 127.0.0.1."""

import base64
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from spamgpt.classifier.formats.huggingface import FILES
from spamgpt.errors import NetworkError, UsageError
from spamgpt.reporting import SILENT
from spamgpt.sources.hub import download_classifier, upload_classifier

NEEDED = ("config.json", "model.safetensors")


@pytest.fixture
def empty_hub(cache, server, use_endpoint):
    use_endpoint(server.url)
    return server


@pytest.mark.parametrize(("revision", "named"), [("main", ""), ("v1.0", "@v1.0")])
def test_a_classifier_comes_with_what_its_repository_has(empty_hub, tmp_path, revision, named):
    files = {name: name.encode() for name in (*NEEDED, "tokenizer.json")}
    empty_hub.put_on_hub("owner/filter", revision, files)
    for name in set(FILES) - files.keys():
        path = f"/owner/filter/resolve/{revision}/{name}"
        empty_hub.put(path, status=404, code="EntryNotFound")
    origin = download_classifier(f"hf:owner/filter{named}", FILES, NEEDED, tmp_path, SILENT)
    assert origin == f"owner/filter@{revision}"
    found = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    assert found == files


def test_a_repository_without_what_is_needed_or_that_is_none_is_told(empty_hub, tmp_path):
    for name in FILES:
        empty_hub.put(f"/owner/filter/resolve/main/{name}", status=404, code="EntryNotFound")
    with pytest.raises(NetworkError, match=r"has no config\.json"):
        download_classifier("hf:owner/filter", FILES, NEEDED, tmp_path, SILENT)
    with pytest.raises(NetworkError, match="no public owner/none"):
        download_classifier("hf:owner/none", FILES, NEEDED, tmp_path, SILENT)


def test_a_file_that_does_not_come_is_not_left_out(empty_hub, tmp_path):
    files = {name: name.encode() for name in FILES}
    empty_hub.put_on_hub("owner/filter", "main", files)
    empty_hub.put("/owner/filter/resolve/main/spamgpt.json", status=500)
    with pytest.raises(NetworkError, match=r"spamgpt\.json"):
        download_classifier("hf:owner/filter", FILES, NEEDED, tmp_path, SILENT)


@pytest.mark.parametrize("source", ["hf:filter", "hf:a/b/c", "hf:a/b@", "hf:a b/c"])
def test_a_name_that_is_none_is_told(tmp_path, source):
    with pytest.raises(UsageError, match="does not name a repository"):
        download_classifier(source, FILES, NEEDED, tmp_path, SILENT)


@dataclass
class Uploads:
    url: str
    token: str = "hf_secret"
    created: list[dict] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)


class UploadHandler(BaseHTTPRequestHandler):
    """As much of the Hub as an upload of small files needs."""

    protocol_version = "HTTP/1.1"
    uploads: Uploads

    def do_GET(self) -> None:
        if self._is_allowed():
            self._answer({"sha": "c" * 40})

    def _is_allowed(self) -> bool:
        allowed = self.headers.get("Authorization") == f"Bearer {self.uploads.token}"
        if not allowed:
            self._answer({"error": "Invalid username or password."}, status=401)
        return allowed

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if not self._is_allowed():
            return
        if self.path == "/api/repos/create":
            self.uploads.created.append(json.loads(body))
            self._answer({"url": f"{self.uploads.url}/owner/filter", "id": "owner/filter"})
        elif self.path.endswith("/preupload/main"):
            paths = [file["path"] for file in json.loads(body)["files"]]
            files = [{"path": p, "uploadMode": "regular", "shouldIgnore": False} for p in paths]
            self._answer({"files": files})
        elif self.path.endswith("/commit/main"):
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    content = base64.b64decode(line["value"]["content"])
                    self.uploads.files[line["value"]["path"]] = content
            url = f"{self.uploads.url}/owner/filter/commit/{'c' * 40}"
            self._answer({"commitUrl": url, "commitOid": "c" * 40})
        else:
            self._answer({})

    def _answer(self, values: dict, status: int = 200) -> None:
        content = json.dumps(values).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def uploads(cache, use_endpoint, monkeypatch) -> Iterator[Uploads]:
    handler = type("OwnHandler", (UploadHandler,), {})
    http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    handler.uploads = Uploads(f"http://127.0.0.1:{http.server_port}")
    use_endpoint(handler.uploads.url)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield handler.uploads
    http.shutdown()
    http.server_close()
    thread.join()


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "README.md").write_text("---\nlibrary_name: transformers\n---\n# A filter\n")
    (folder / "model.safetensors").write_bytes(bytes(1000))
    return folder


def test_all_files_of_a_folder_are_uploaded_to_a_private_repository(uploads, folder):
    url = upload_classifier(folder, "hub:owner/filter", SILENT)
    assert url == f"{uploads.url}/owner/filter"
    assert uploads.files == {path.name: path.read_bytes() for path in folder.iterdir()}
    (created,) = uploads.created
    assert (created["organization"], created["name"]) == ("owner", "filter")
    assert created.get("private") or created.get("visibility") == "private"


def test_a_refused_upload_says_how_to_log_in(uploads, folder):
    uploads.token = "another"
    with pytest.raises(NetworkError, match="401") as caught:
        upload_classifier(folder, "hub:owner/filter", SILENT)
    assert "HF_TOKEN" in caught.value.hint
    assert "\n" not in caught.value.message
    assert uploads.files == {}


def test_a_server_that_is_not_there_is_told(cache, use_endpoint, nowhere, folder):
    use_endpoint(nowhere)
    with pytest.raises(NetworkError, match="owner/filter could not be uploaded"):
        upload_classifier(folder, "hub:owner/filter", SILENT)


@pytest.mark.parametrize("target", ["hub:", "hub:filter", "hub:a/b/c"])
def test_a_target_that_is_no_repository_is_told(folder, target):
    with pytest.raises(UsageError, match="does not name a repository"):
        upload_classifier(folder, target, SILENT)


def test_a_classifier_goes_to_the_hub_and_comes_back_from_it(
    uploads, server, use_endpoint, trained_workspace, tmp_path
):
    import numpy as np

    from spamgpt import SpamClassifier
    from spamgpt.stages.export import ExportSettings
    from spamgpt.stages.export import run as export
    from spamgpt.stages.import_ import ImportSettings
    from spamgpt.stages.import_ import run as import_
    from spamgpt.workspace import Workspace

    exported = export(ExportSettings("v1", "hub:owner/filter"), Workspace(trained_workspace))
    assert exported.target == f"{uploads.url}/owner/filter"
    use_endpoint(server.url)
    server.put_on_hub("owner/filter", "main", uploads.files)
    new = Workspace(tmp_path / "new")
    artifact = import_(ImportSettings("hf:owner/filter"), new)
    assert artifact.manifest["inputs"][0]["artifact"] == "models/imported-owner--filter/v1"
    assert artifact.metadata["origin"] == "owner/filter@main"
    first, second = (
        SpamClassifier.from_pretrained(root, device="cpu", precision="fp32")
        for root in (trained_workspace, new.root)
    )
    texts = ["WIN a FREE prize now", "see you at home"]
    np.testing.assert_allclose(second.predict_proba(texts), first.predict_proba(texts), atol=1e-5)
    assert second.config.threshold == first.config.threshold
