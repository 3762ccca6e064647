import io
import json

import pyarrow as pa
import pyarrow.parquet as pq

from spamgpt.classifier.predictor import Prediction
from spamgpt.data.chunks import Chunk
from spamgpt.data.inputs import Message
from spamgpt.data.rows import Row
from spamgpt.errors import BadDataError
from spamgpt.stages.parts import Done, is_broken, jsonl_part, parquet_part, part_name
from spamgpt.stages.predict import Answer, Refusal

LABELS = ["ham", "spam"]


def answer(text, **others):
    return Answer(
        Row(1, text.encode("utf-8", "replace"), {}),
        Prediction(text, "spam", {"ham": 0.25, "spam": 0.75}, 0.75, windows=1),
        others,
    )


ROW = Row(2, b"{", {})
REFUSAL = Refusal(ROW, BadDataError("line 2: is not JSON.", "Correct it."), "{")


def chunk(begin, count, ending=""):
    return Chunk(begin, [Message(ROW, "", {})] * count, ending)


def names_of(*chunks, file=0):
    return [part_name(file, each, "jsonl") for each in chunks]


def test_names_sort_as_the_messages_do_and_tell_what_is_answered():
    chunks = [chunk(0, 10), chunk(10, 10), chunk(20, 3, "last")]
    names = names_of(*chunks) + names_of(chunk(0, 0, "last"), file=11)
    assert names == sorted(names)
    done = Done.from_names([*names, "_spamgpt.json", "part-1.csv"])
    assert done[0].chunks == {0: 10, 10: 20, 20: 23}
    assert done[0].messages == 23
    assert all(each.complete for each in done.values())
    assert list(done) == [0, 11]


def test_a_file_with_a_gap_or_without_its_last_chunk_is_not_complete():
    first, second, last = names_of(chunk(0, 10), chunk(10, 10), chunk(20, 3, "last"))
    for names in ([first, second], [first, last], [second, last], [last]):
        assert not Done.from_names(names)[0].complete
    assert not Done().complete
    (broken,) = names_of(chunk(20, 3, "broken"))
    assert not Done.from_names([first, second, broken])[0].complete
    assert [name for name in (first, broken, last) if is_broken(name)] == [broken]


def test_jsonl_is_what_predict_writes():
    first, second = jsonl_part([answer("WIN \ud800", id=1), REFUSAL]).decode().splitlines()
    probabilities = {"ham": 0.25, "spam": 0.75}
    assert json.loads(first) == {
        "label": "spam",
        "probability": 0.75,
        "probabilities": probabilities,
        "text": "WIN ?",
        "id": 1,
    }
    assert json.loads(second)["error"] == "line 2: is not JSON."


def read(part):
    return pq.read_table(io.BytesIO(part))


def test_parquet_keeps_the_types_of_the_other_columns():
    rows = pa.table({"when": pa.array([7], pa.timestamp("ms")), "label": ["old"], "n": [None]})
    found = read(parquet_part([answer("WIN \ud800"), REFUSAL], LABELS, [], rows))
    assert found.schema.field("when").type == pa.timestamp("ms")
    # What an answer calls its own keeps its name; a row that is no row of the file has no columns.
    assert found["input_label"].to_pylist() == ["old", None]
    assert found["label"].to_pylist() == ["spam", None]
    assert found["text"].to_pylist() == ["WIN ?", "{"]
    assert found["error"].to_pylist() == [None, "line 2: is not JSON."]
    assert found["probabilities"].to_pylist() == [{"ham": 0.25, "spam": 0.75}, None]


def test_columns_of_other_formats_are_strings_in_every_part():
    columns = ["id", "tags"]
    first = parquet_part([answer("a", id="7", tags=["x"]), REFUSAL], LABELS, columns, None)
    second = parquet_part([answer("b", other=1)], LABELS, columns, None)
    assert read(first).schema == read(second).schema
    assert read(first).select(columns).to_pylist() == [
        {"id": "7", "tags": '["x"]'},
        {"id": None, "tags": None},
    ]
    assert read(second).select(columns).to_pylist() == [{"id": None, "tags": None}]
    assert read(parquet_part([], LABELS, columns, None)).schema == read(first).schema
