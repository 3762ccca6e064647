import tempfile
from pathlib import Path

import pytest

from spamgpt.classifier.formats.contents import from_contents
from spamgpt.errors import BadDataError


@pytest.fixture
def contents(train) -> tuple[dict[str, bytes], dict]:
    classifier = train()
    shape = classifier.model.gpt2.config.to_dict()
    import json

    sources = classifier._sources
    files = {name: sources.tokenizer_file(name) for name in ("vocab.json", "merges.txt")}
    files["config.json"] = json.dumps(shape).encode()
    files["spamgpt.json"] = classifier.config.to_json().encode()
    return files, dict(sources.tensors)


def test_what_a_classifier_is_saved_from_outlives_the_reading(contents, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    files, tensors = contents
    before = set(tmp_path.iterdir())
    read = from_contents(files, tensors, None, Path("origin"))
    assert set(tmp_path.iterdir()) == before
    assert read.sources.tokenizer_file("merges.txt") == files["merges.txt"]
    assert read.sources.card is None


@pytest.mark.parametrize("name", ["vocab.json", "merges.txt", "config.json", "spamgpt.json"])
def test_an_error_names_the_origin_and_the_file(contents, name):
    files, tensors = contents
    with pytest.raises(BadDataError, match=rf"origin: {name}") as caught:
        from_contents(files | {name: b"\xff"}, tensors, None, Path("origin"))
    assert "spamgpt-" not in caught.value.message
