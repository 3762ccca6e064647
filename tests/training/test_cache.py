import errno
import os

import numpy as np
import pytest

from spamgpt.training.cache import ArrayCache

SHAPE = (100, 8)


@pytest.fixture
def cache(tmp_path) -> ArrayCache:
    return ArrayCache(tmp_path / "ws" / "cache", limit=10_000)


def put(cache: ArrayCache, key: str, value: float = 1.0, shape=SHAPE) -> None:
    with cache.writing(key, f"about {key}", shape, np.float32) as array:
        array[:] = value


def keys(cache: ArrayCache) -> set[str]:
    return {entry.key for entry in cache.entries()}


def test_what_was_written_is_read_back_by_mapping(cache):
    put(cache, "a", 2.5)
    read = cache.read("a", SHAPE, np.float32)
    assert isinstance(read, np.memmap)
    assert (read == 2.5).all()
    (entry,) = cache.entries()
    assert (entry.key, entry.about, entry.size) == ("a", "about a", 128 + 3200)


@pytest.mark.parametrize(("shape", "dtype"), [((99, 8), np.float32), (SHAPE, np.int16)])
def test_another_shape_or_type_is_not_taken(cache, shape, dtype):
    put(cache, "a")
    assert cache.read("a", shape, dtype) is None
    assert cache.read("b", SHAPE, np.float32) is None


def test_a_failing_writer_leaves_nothing(cache):
    with pytest.raises(RuntimeError), cache.writing("a", "", SHAPE, np.float32):
        raise RuntimeError
    assert list(cache.folder.iterdir()) == []


def test_a_full_disk_is_told_before_anything_is_written_to_mapped_memory(cache, monkeypatch):
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space"):
        put(cache, "a")
    assert list(cache.folder.iterdir()) == []


@pytest.mark.parametrize("damage", ["cut", "flipped", "no record", "bad record", "empty"])
def test_a_damaged_entry_is_noticed(cache, damage):
    put(cache, "a")
    file, record = cache.folder / "a.npy", cache.folder / "a.json"
    content = bytearray(file.read_bytes())
    if damage == "cut":
        file.write_bytes(content[:-1])
    elif damage == "empty":
        file.write_bytes(b"")
    elif damage == "flipped":
        content[-1] ^= 1
        file.write_bytes(content)
    elif damage == "no record":
        record.unlink()
    else:
        record.write_text("[]")
    assert cache.read("a", SHAPE, np.float32) is None
    put(cache, "a", 3.0)
    assert (cache.read("a", SHAPE, np.float32) == 3.0).all()


def test_a_copy_with_new_times_is_still_taken(cache):
    put(cache, "a")
    os.utime(cache.folder / "a.npy", (1, 1))
    assert cache.read("a", SHAPE, np.float32) is not None


def test_room_is_made_of_what_was_not_used_for_longest(cache):
    for number, key in enumerate("abc"):
        put(cache, key)
        os.utime(cache.folder / f"{key}.json", (number, number))
    cache.read("a", SHAPE, np.float32)  # and so used last
    cache.make_room(3_000)
    assert keys(cache) == {"a", "c"}
    cache.make_room(9_000, keep={"c"})
    assert keys(cache) == {"c"}


def test_clearing_removes_all_also_what_a_killed_run_left(cache):
    put(cache, "a")
    (cache.folder / "b-12345678.unfinished").write_bytes(b"half")
    assert cache.clear() > 3200
    assert not cache.folder.exists()
    assert cache.entries() == []
    assert cache.clear() == 0


def test_without_a_limit_a_quarter_of_the_free_disk_is_the_most(tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    assert ArrayCache(tmp_path / "not" / "there").limit == 250
    usage.free = 2**50
    assert ArrayCache(tmp_path).limit == 4 * 2**30
