import gzip
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from spamgpt.data.stores import Folder, file_system, lines_at, stored_files
from spamgpt.errors import BadDataError, MissingInputError, UsageError


@pytest.fixture
def bucket(tmp_path):
    """The address of a folder, which pyarrow reads as it reads object stores."""
    folder = tmp_path / "bucket"
    folder.mkdir()
    (folder / "a.jsonl").write_text('{"text": "hi"}\n')
    (folder / "b.txt.gz").write_bytes(gzip.compress(b"see you\n"))
    pq.write_table(pa.table({"text": ["ok"]}), folder / "c.parquet")
    (folder / "README").write_text("no messages")
    (folder / "_draft-1").write_text("half a fi")
    (folder / "deep").mkdir()
    (folder / "deep" / "d 1?.csv").write_text("text\nlater\n")
    return folder.as_uri()


def test_a_folder_at_an_address_stands_for_its_files(bucket):
    found, left_out = stored_files([bucket])
    names = ["a.jsonl", "b.txt.gz", "c.parquet", "deep/d%201%3F.csv"]
    assert [file.address for file in found] == [f"{bucket}/{name}" for name in names]
    assert found[0].size == len('{"text": "hi"}\n')
    assert left_out == [f"{bucket}/README"]
    (file,), _ = stored_files([f"{bucket}/README"])
    assert file.address == f"{bucket}/README"
    everything, _ = stored_files([bucket], any_name=True)
    assert len(everything) == len(names) + 1


def test_files_at_addresses_and_paths_have_the_same_lines(bucket):
    for file in stored_files([bucket])[0]:
        lines = list(lines_at(file.address))
        assert lines
        assert lines == list(lines_at(unquote(file.address.removeprefix("file://"))))


def test_a_query_stays_at_the_end_of_an_address(bucket):
    query = "?region=eu-west-1"
    found, left_out = stored_files([bucket + query])
    assert [file.address for file in found[1:3]] == [
        f"{bucket}/{name}{query}" for name in ("b.txt.gz", "c.parquet")
    ]
    assert left_out == [f"{bucket}/README"]
    for file in found:
        assert stored_files([file.address])[0] == [file]
        assert list(lines_at(file.address)) == list(lines_at(file.address.removesuffix(query)))


def test_what_is_not_there_or_unknown_is_told(bucket):
    with pytest.raises(MissingInputError, match="There is nothing at"):
        stored_files([f"{bucket}/none"])
    with pytest.raises(MissingInputError, match="begins with x://, which is unknown"):
        file_system("x://bucket/a")
    with pytest.raises(UsageError, match="from the disk only"):
        list(lines_at(f"{bucket}/a.xlsx"))


def test_a_damaged_file_at_an_address_is_told(bucket, tmp_path):
    whole = (tmp_path / "bucket" / "c.parquet").read_bytes()
    (tmp_path / "bucket" / "c.parquet").write_bytes(whole[:-20])
    with pytest.raises(BadDataError, match=r"c\.parquet cannot be read as Parquet"):
        list(lines_at(f"{bucket}/c.parquet"))


@pytest.mark.parametrize("as_address", [False, True])
def test_a_file_is_written_whole_or_not_at_all(tmp_path, as_address):
    place = tmp_path / "out"
    folder = Folder(place.as_uri() if as_address else str(place))
    assert folder.names() == []
    folder.write("a", b"1")
    folder.write("a", b"2")
    with pytest.raises(TypeError):
        folder.write("b", None)
    (place / "_draft-killed").write_bytes(b"hal")
    assert folder.names() == ["a"]
    assert folder.read("a") == b"2"
    folder.remove_drafts()
    assert [path.name for path in place.iterdir()] == ["a"]
