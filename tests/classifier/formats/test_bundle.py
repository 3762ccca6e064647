import json
import struct

import numpy as np
import pytest

from spamgpt import SpamClassifier
from spamgpt.classifier.formats.bundle import from_bundle_bytes
from spamgpt.errors import BadDataError, UsageError
from tests.classifier.formats.conftest import MESSAGES


@pytest.fixture
def classifier(train) -> SpamClassifier:
    return train()


@pytest.fixture
def bundle(classifier, tmp_path):
    classifier.to_bundle(tmp_path / "a" / "filter.spamgpt")
    return tmp_path / "a" / "filter.spamgpt"


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_bundle_answers_to_the_bit_and_alone(classifier, bundle, tmp_path, precision):
    classifier.save_pretrained(tmp_path / "saved")
    saved = SpamClassifier.from_pretrained(tmp_path / "saved", device="cpu", precision=precision)
    moved = bundle.rename(tmp_path / "moved")  # whatever it is called
    loaded = SpamClassifier.from_pretrained(moved, device="cpu", precision=precision)
    assert loaded.config == classifier.config
    np.testing.assert_array_equal(loaded.predict_proba(MESSAGES), saved.predict_proba(MESSAGES))


def test_a_bundle_is_the_same_bytes_each_time_and_survives_a_round_trip(bundle, tmp_path):
    again = SpamClassifier.from_pretrained(bundle, device="cpu")
    again.to_bundle(tmp_path / "again.spamgpt")
    assert (tmp_path / "again.spamgpt").read_bytes() == bundle.read_bytes()
    assert list(bundle.parent.iterdir()) == [bundle]


def test_the_bundled_classifier_keeps_its_card_and_its_size(tmp_path):
    bundled = SpamClassifier.bundled("cpu", "fp32")
    bundled.to_bundle(tmp_path / "mini.spamgpt")
    # Its weights have 16 bits, and stay so.
    assert (tmp_path / "mini.spamgpt").stat().st_size < 18e6
    loaded = SpamClassifier.from_pretrained(tmp_path / "mini.spamgpt", device="cpu")
    loaded.save_pretrained(tmp_path / "saved")
    bundled.save_pretrained(tmp_path / "expected")
    for path in (tmp_path / "expected").iterdir():
        assert (tmp_path / "saved" / path.name).read_bytes() == path.read_bytes()


def test_what_is_there_is_not_overwritten(classifier, bundle):
    before = bundle.read_bytes()
    with pytest.raises(UsageError, match=r"filter\.spamgpt already exists"):
        classifier.to_bundle(bundle)
    assert bundle.read_bytes() == before


@pytest.mark.parametrize("share", [0, 0.00001, 0.01, 0.5, 0.999])
def test_a_truncated_bundle_gets_one_clear_line(bundle, share):
    content = bundle.read_bytes()
    bundle.write_bytes(content[: int(share * len(content))])
    with pytest.raises(BadDataError, match=r"filter\.spamgpt") as caught:
        SpamClassifier.from_pretrained(bundle)
    assert "\n" not in caught.value.message
    with pytest.raises(BadDataError):
        from_bundle_bytes(bundle.read_bytes())


def with_header(header: bytes) -> bytes:
    return struct.pack("<Q", len(header)) + header


def with_files(files: object) -> bytes:
    return with_header(json.dumps({"__metadata__": {"spamgpt": json.dumps(files)}}).encode())


DEEP = "[" * 100_000
HOSTILE = {
    "text": b"hello, this is no bundle at all",
    "zip": b"PK\x03\x04" + bytes(100),
    "pickle": b"\x80\x04cos\nsystem\n(S'touch hacked'\ntR.",
    "huge header": struct.pack("<Q", 2**62) + b"{}",
    "not JSON": with_header(b"{" * 40),
    "deep": with_header(DEEP.encode()),
    "a list": with_header(b"[1]"),
    "no metadata": with_header(b"{}"),
    "metadata is text": with_header(b'{"__metadata__": "x"}'),
    "metadata of another": with_header(b'{"__metadata__": {"format": "pt"}}'),
    "files are a list": with_files(["config.json", "spamgpt.json"]),
    "files are a number": with_files(3),
    "files are missing": with_files({"config.json": "{}"}),
    "files are no text": with_files(
        dict.fromkeys(["config.json", "spamgpt.json", "vocab.json", "merges.txt"], 1)
    ),
    "files are empty": with_files(
        dict.fromkeys(["config.json", "spamgpt.json", "vocab.json", "merges.txt"], "")
    ),
    "files are surrogates": with_files(
        dict.fromkeys(["config.json", "spamgpt.json", "vocab.json", "merges.txt"], "\ud800")
    ),
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_bundle_gets_one_clear_line(tmp_path, content):
    path = tmp_path / "bad.spamgpt"
    path.write_bytes(content)
    with pytest.raises(BadDataError, match=r"bad\.spamgpt") as caught:
        SpamClassifier.from_pretrained(path)
    assert "\n" not in caught.value.message
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(BadDataError):
        from_bundle_bytes(content)


@pytest.mark.parametrize(
    ("name", "change", "told"),
    [
        ("spamgpt.json", {"labels": ["ham"]}, "labels is"),
        ("spamgpt.json", {"labels": ["a", "b", "c"], "positive_label": "a"}, "wrong shapes"),
        ("config.json", {"n_layer": 3}, "missing"),
        ("config.json", {"n_layer": 10**6}, "n_layer is more than"),
        ("config.json", {"vocab_size": 2}, "token ids up to"),
    ],
)
def test_a_bundle_whose_parts_do_not_fit_names_itself_and_the_part(bundle, name, change, told):
    content = bundle.read_bytes()
    size = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + size])
    files = json.loads(header["__metadata__"]["spamgpt"])
    files[name] = json.dumps(json.loads(files[name]) | change)
    header["__metadata__"]["spamgpt"] = json.dumps(files)
    bundle.write_bytes(with_header(json.dumps(header).encode()) + content[8 + size :])
    with pytest.raises(BadDataError, match=rf"filter\.spamgpt.*{told}") as caught:
        SpamClassifier.from_pretrained(bundle)
    assert "\n" not in caught.value.message
    assert "/tmp" not in caught.value.message.replace(str(bundle), "")


def test_n_grams_are_in_it_in_half_precision(train, tmp_path):
    classifier = train(ngrams=True)
    classifier.to_bundle(tmp_path / "f.spamgpt")
    loaded = SpamClassifier.from_pretrained(tmp_path / "f.spamgpt", device="cpu", precision="fp32")
    assert loaded.config == classifier.config
    assert loaded.config.ngrams
    np.testing.assert_array_equal(
        loaded.predict_proba(MESSAGES), classifier.predict_proba(MESSAGES)
    )
    assert (tmp_path / "f.spamgpt").stat().st_size < 7_000_000
