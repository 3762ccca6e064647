import pyarrow as pa
import pyarrow.parquet as pq

from spamgpt.data import chunks
from spamgpt.data.chunks import chunks_of
from spamgpt.data.inputs import Limits, read_messages
from spamgpt.stages.predict import PredictSettings, messages_of


def chunks_in(path, most=10, **options):
    read = lambda lines: read_messages(str(path), lines, limits=Limits(strict=False))  # noqa: E731
    return list(chunks_of(str(path), read, most, **options))


def test_chunks_hold_every_message_once_and_the_last_one_says_so(tmp_path):
    path = tmp_path / "a.txt"
    for count in (0, 9, 10, 11, 30):
        path.write_text("".join(f"message {number}\n" for number in range(count)))
        found = chunks_in(path)
        texts = [message.text for chunk in found for message in chunk.messages]
        assert texts == [f"message {number}" for number in range(count)]
        assert [chunk.begin for chunk in found[1:]] == [chunk.end for chunk in found[:-1]]
        assert [chunk.ending for chunk in found] == [""] * (len(found) - 1) + ["last"]
        assert all(len(chunk.messages) == 10 for chunk in found[:-1])


def test_long_messages_make_short_chunks(tmp_path, monkeypatch):
    monkeypatch.setattr(chunks, "BYTES_PER_CHUNK", 1000)
    path = tmp_path / "a.txt"
    path.write_text(f"{'x' * 400}\n" * 6)
    assert [len(chunk.messages) for chunk in chunks_in(path)] == [2, 2, 2]


def test_rows_of_parquet_stay_with_their_messages(tmp_path):
    path = tmp_path / "a.parquet"
    rows = pa.table({"id": range(2500), "text": [f"message {n}" for n in range(2500)]})
    pq.write_table(rows, path, row_group_size=700)
    for chunk in chunks_in(path, most=999, with_rows=True):
        assert chunk.rows == rows[chunk.begin : chunk.end]
        assert chunk.rows["text"].to_pylist() == [message.text for message in chunk.messages]
    assert chunk.end == 2500
    (whole,) = chunks_in(path, most=9999)
    assert whole.rows is None


def test_the_columns_are_known_of_an_empty_parquet_file_and_after_its_last_full_chunk(tmp_path):
    path = tmp_path / "a.parquet"
    rows = pa.table({"id": pa.array(range(20), "int64"), "text": ["hi"] * 20})
    for count in (0, 10, 20):
        pq.write_table(rows[:count], path)
        for chunk in chunks_in(path, with_rows=True):
            assert chunk.rows.schema == rows.schema
            assert len(chunk.rows) == len(chunk.messages)


def test_an_error_has_no_row_of_what_could_not_be_read(tmp_path):
    path = tmp_path / "a.parquet"
    texts = pa.array([b"hi"] * 1000 + [b"\xff"]).view("string")
    pq.write_table(pa.table({"id": range(1001), "text": texts}), path)
    read = lambda lines: messages_of(PredictSettings(), [(str(path), lines)])  # noqa: E731
    (chunk,) = chunks_of(str(path), read, 9999, with_rows=True)
    assert len(chunk.messages) == 1001
    assert "not UTF-8" in chunk.messages[-1].row.error.message
    assert chunk.rows["id"].to_pylist() == list(range(1000))
