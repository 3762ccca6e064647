"""Scoring on a cluster: Ray on this machine, which all tests of the file share."""

import gzip
import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.processes import descendants
from spamgpt.data.files import lines_of
from spamgpt.errors import BadDataError, MissingInputError, UsageError
from spamgpt.stages import score
from spamgpt.stages.predict import PredictSettings, answer_line
from spamgpt.stages.predict import run as predict
from spamgpt.stages.score import MANIFEST, ScoreSettings, Summary
from spamgpt.workspace import Workspace
from tests.conftest import some_messages

# Ray warns of how it uses its own libraries.
pytestmark = [pytest.mark.distributed, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def workspace(trained_workspace_template: Path) -> Workspace:
    return Workspace(trained_workspace_template)


@pytest.fixture(scope="module")
def ray_cluster() -> Iterator[None]:
    from spamgpt.stages.cluster import cluster

    with cluster(None, quiet=True):
        yield


def run(workspace: Workspace, *inputs: object, output: Path, reading=None, **options) -> Summary:
    settings = PredictSettings(device="cpu", precision="fp32", **(reading or {}))
    named = tuple(map(str, inputs))
    job = ScoreSettings(named, str(output), settings, **{"concurrency": 1, "chunk": 50, **options})
    return score.run(job, workspace)


def some_parquet(path: Path, count: int) -> Path:
    texts = [text for _, text in some_messages(count)]
    when = pa.array(range(count), pa.timestamp("ms"))
    pq.write_table(pa.table({"id": range(count), "text": texts, "when": when}), path)
    return path


def parts(output: Path) -> dict[str, int]:
    """The parts by name, with the time they were written."""
    return {path.name: path.stat().st_mtime_ns for path in sorted(output.glob("part-*"))}


def plain(workspace: Workspace, files: list[Path]) -> list[dict[str, object]]:
    """The answers of `predict` without a cluster."""
    streams = [(str(file), lines_of(file)) for file in files]
    found = predict(PredictSettings(device="cpu", precision="fp32"), workspace, streams)
    return [json.loads(answer_line(answer)) for batch in found.batches for answer in batch]


def test_a_cluster_that_is_not_there_is_told():
    from spamgpt.stages.cluster import cluster

    with (
        pytest.raises(MissingInputError, match=r"no Ray cluster at `address=127\.0\.0\.1:1`"),
        cluster("127.0.0.1:1", quiet=True),
    ):
        pass


def test_answers_are_those_of_predict_in_the_order_of_their_names(workspace, ray_cluster, tmp_path):
    inputs = tmp_path / "in"
    inputs.mkdir()
    texts = [text for _, text in some_messages(170)]
    lines = [json.dumps({"text": text, "n": n}) for n, text in enumerate(texts)]
    lines[60] = "no JSON"
    (inputs / "a.jsonl.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    (inputs / "b.csv").write_text(
        "id,text\n" + "".join(f'{n},"{t}"\n' for n, t in enumerate(texts))
    )
    (inputs / "c.txt").write_text("")
    some_parquet(inputs / "d.parquet", 120)
    # On the disk, and at an address as those of object stores are.
    done = run(workspace, inputs, inputs.as_uri(), output=tmp_path / "out")
    written = b"".join((tmp_path / "out" / name).read_bytes() for name in parts(tmp_path / "out"))
    found = [json.loads(line) for line in written.splitlines()]
    expected = plain(workspace, sorted(inputs.iterdir()))
    assert len(found) == 2 * len(expected) == done.messages == 2 * (170 + 170 + 120)
    assert done.errors == 2
    for ours, theirs in zip(found, expected * 2, strict=True):
        # An error names the file, and so its place.
        numbers = ("probability", "probabilities", "error")
        assert [(k, v) for k, v in ours.items() if k not in numbers] == [
            (k, v) for k, v in theirs.items() if k not in numbers
        ]
        for name in numbers[:2]:
            assert ours.get(name) == pytest.approx(theirs.get(name), abs=1e-5)


def test_a_job_started_again_does_what_is_missing(workspace, ray_cluster, tmp_path):
    data, output = some_parquet(tmp_path / "a.parquet", 220), tmp_path / "out"
    options = {"reading": {"threshold": 0.4}, "output": output}
    assert run(workspace, data, **options).messages == 220
    before = parts(output)
    assert len(before) == 5
    missing = [list(before)[1], list(before)[-1]]
    for name in missing:
        (output / name).unlink()
    (output / "_draft-of-a-killed-worker").write_bytes(b"PAR1")
    again = run(workspace, data, **options)
    assert (again.before, again.labels.total()) == (150, 70)
    after = parts(output)
    assert after.keys() == before.keys()
    assert [name for name in after if after[name] != before[name]] == missing
    table = pq.read_table(output)
    assert table["id"].to_pylist() == list(range(220))
    assert table["when"].type == pa.timestamp("ms")
    assert sorted(path.name for path in output.iterdir()) == [MANIFEST, *after]
    # What the answers depend on has to be the same.
    for changed, other in {
        "settings": {"reading": {"threshold": 0.9}},
        "chunk": {"chunk": 51},
        "format": {"format": "jsonl"},
    }.items():
        with pytest.raises(UsageError, match=rf"something else \({changed}"):
            run(workspace, data, **{**options, **other})
    some_parquet(data, 221)
    with pytest.raises(UsageError, match=r"something else \(files"):
        run(workspace, data, **options)
    assert parts(output) == after


def test_a_killed_worker_loses_and_doubles_nothing(workspace, ray_cluster, tmp_path, monkeypatch):
    data, output = some_parquet(tmp_path / "a.parquet", 1000), tmp_path / "out"
    killed = []
    counted = Summary.count

    def kill_once(summary, chunk):
        counted(summary, chunk)
        if not killed:
            killed.append(max(descendants(b"ray::MapWorker(MapBatches(_Scorer))")))
            os.kill(killed[0], signal.SIGKILL)

    monkeypatch.setattr(Summary, "count", kill_once)
    done = run(workspace, data, output=output, chunk=20, concurrency=2)
    assert killed
    assert done.messages == 1000
    table = pq.read_table(output)
    assert table["id"].to_pylist() == list(range(1000))


def test_an_error_that_ends_it_all_is_told_as_without_a_cluster(workspace, ray_cluster, tmp_path):
    data = tmp_path / "a.jsonl"
    data.write_text('{"text": "hi"}\n{"text": null}\n')
    with pytest.raises(BadDataError, match=r"a\.jsonl, line 2: 'text' is null"):
        run(workspace, data, output=tmp_path / "out", reading={"on_error": "fail"})


def test_a_file_that_ends_early_is_read_again_by_the_next_job(workspace, ray_cluster, tmp_path):
    data, output = tmp_path / "a.jsonl.gz", tmp_path / "out"
    lines = "".join(f'{{"text": "message {number}"}}\n' for number in range(70))
    data.write_bytes(gzip.compress(f'{{"text": null}}\n{lines}'.encode())[:-8])
    for _ in range(2):
        done = run(workspace, data, output=output, reading={"on_error": "skip"})
        assert done.errors >= 1
        whole, broken = parts(output)
        assert broken.endswith("-broken.jsonl")
        answers = [
            json.loads(line)["text"]
            for name in (whole, broken)
            for line in (output / name).read_text().splitlines()
        ]
        # What could be read is answered, once; the record that is none is skipped.
        assert answers == [f"message {number}" for number in range(70)]


def test_a_folder_with_other_answers_is_not_touched(workspace, tmp_path):
    data, output = some_parquet(tmp_path / "a.parquet", 3), tmp_path / "out"
    output.mkdir()
    (output / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="is not empty"):
        run(workspace, data, output=output)
    assert [path.name for path in output.iterdir()] == ["notes.txt"]


def test_the_folder_of_the_answers_is_no_input(workspace, tmp_path):
    output = tmp_path / "out"
    output.mkdir()
    (output / "a.txt").write_text("hi")
    with pytest.raises(UsageError, match="All inputs are in the folder"):
        run(workspace, tmp_path, output=output)


def test_the_missing_library_is_named(workspace, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingInputError, match="ray") as told:
        run(workspace, tmp_path, output=tmp_path / "out")
    assert "'spamgpt[ray]'" in told.value.hint
