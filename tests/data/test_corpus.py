import gzip
import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from spamgpt.data.corpus import (
    Source,
    epoch_batches,
    find_sources,
    join_shards,
    read_corpus,
    read_shard,
    weighted_documents,
)
from spamgpt.errors import BadDataError, MissingInputError, UsageError
from spamgpt.gpt2.tokenizer import Tokenizer

TEXTS = [f"text {n} " + "word " * (n % 13) for n in range(300)]


@pytest.fixture
def tokenizer(make_model) -> Tokenizer:
    return Tokenizer.from_folder(make_model(weights=False))


def jsonl(path: Path, texts: list[str]) -> Path:
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


def test_the_same_documents_come_out_of_every_format(tmp_path):
    texts = ["one", "two words", "é😀"]
    lines = "\n".join([*texts[:1], "", *texts[1:]]) + "\n"
    (tmp_path / "a.txt").write_text(lines)
    jsonl(tmp_path / "b.jsonl", texts)
    (tmp_path / "c.csv").write_text("n,text\n" + "".join(f"1,{text}\n" for text in texts))
    with gzip.open(tmp_path / "d.jsonl.gz", "wb") as file:
        file.write((tmp_path / "b.jsonl").read_bytes())
    pd.DataFrame({"text": texts}).to_parquet(tmp_path / "e.parquet")
    sources = find_sources([tmp_path], {})
    assert [source.name for source in sources] == ["a", "b", "c", "d", "e"]
    for source in sources:
        assert list(source.documents()) == texts


def test_of_a_folder_tables_between_tabs_and_names_in_capitals_are_read_too(tmp_path):
    (tmp_path / "a.tsv").write_text("ham\tsee you\nspam\tWIN\n")
    (tmp_path / "B.TXT").write_text("loud\n")
    (tmp_path / "C.JSONL.GZ").write_bytes(gzip.compress(b'{"text": "packed"}\n'))
    (tmp_path / "d.png").write_bytes(b"no text")
    sources = find_sources([tmp_path], {})
    documents = {source.name: list(source.documents()) for source in sources}
    assert documents == {"a": ["see you", "WIN"], "B": ["loud"], "C": ["packed"]}


def test_sources_are_weighed_by_name_and_a_weight_of_0_leaves_one_out(tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.txt").write_text("text\n")
    (source,) = find_sources([tmp_path], {"a": 0, "b": 2.5})
    assert (source.name, source.weight) == ("b", 2.5)
    with pytest.raises(UsageError, match="no source c to weigh") as caught:
        find_sources([tmp_path], {"c": 1})
    assert "a, b" in caught.value.hint


def test_a_missing_or_empty_place_is_told(tmp_path):
    with pytest.raises(MissingInputError, match="nothing"):
        find_sources([tmp_path / "nothing"], {})
    with pytest.raises(MissingInputError, match="no text"):
        find_sources([tmp_path], {})


def test_a_damaged_row_is_named(tmp_path):
    path = jsonl(tmp_path / "a.jsonl", ["fine"])
    path.write_text(path.read_text() + '{"body": "x"}\n')
    with pytest.raises(BadDataError, match=r"a\.jsonl, line 2: has no 'text'"):
        list(Source("a", path).documents())


def test_documents_end_with_end_of_text_and_long_ones_are_cut_to_the_context(tmp_path, tokenizer):
    source = Source("a", jsonl(tmp_path / "a.jsonl", TEXTS))
    training, held_out = read_corpus([source], tokenizer, context=16, held_out=0.1)
    assert 0.05 < len(held_out.token_ids) / len(training.token_ids) < 0.2
    assert max(training.lengths.max(), held_out.lengths.max()) <= 16
    documents = []
    for corpus in (training, held_out):
        begins = True
        for start, stop in pairwise(corpus.offsets):
            piece = corpus.token_ids[start:stop].tolist()
            assert len(piece) > 1
            if begins:
                documents.append(piece)
            else:
                assert documents[-1][-1] == piece[0]  # pieces overlap by the token that is read on
                documents[-1] += piece[1:]
            begins = piece[-1] == tokenizer.encoding.eot_token
    whole = [[*ids, tokenizer.encoding.eot_token] for ids in tokenizer.encode(TEXTS)]
    assert sorted(documents) == sorted(whole)


def test_shards_read_apart_are_the_whole(tmp_path, tokenizer):
    sources = [
        Source(name, jsonl(tmp_path / f"{name}.jsonl", [f"{name} {text}" for text in TEXTS]))
        for name in ("a", "b")
    ]
    shards = [read_shard(sources, tokenizer, 16, 0.1, number, 3) for number in range(3)]
    sizes = [len(shard.corpora[0]) for shard in shards]
    assert max(sizes) < 1.5 * min(sizes)
    whole = read_corpus(sources, tokenizer, context=16, held_out=0.1)
    for corpus, expected in zip(join_shards(shards), whole, strict=True):
        for name in ("token_ids", "offsets", "source"):
            assert np.array_equal(getattr(corpus, name), getattr(expected, name))


def test_repeats_of_a_text_are_held_out_together(tmp_path, tokenizer):
    source = Source("a", jsonl(tmp_path / "a.jsonl", TEXTS * 2))
    training, held_out = read_corpus([source], tokenizer, context=128, held_out=0.2)

    def pieces(corpus) -> set[bytes]:
        return {corpus.token_ids[a:b].tobytes() for a, b in pairwise(corpus.offsets)}

    assert not pieces(training) & pieces(held_out)


def test_too_little_text_is_told(tmp_path, tokenizer):
    source = Source("a", jsonl(tmp_path / "a.jsonl", ["one"]))
    with pytest.raises(BadDataError, match="pieces to train on"):
        read_corpus([source], tokenizer, context=16, held_out=0.01)


def test_an_epoch_holds_every_piece_as_often_as_its_source_weighs(tmp_path, tokenizer):
    sources = [
        Source("a", jsonl(tmp_path / "a.jsonl", [f"a {text}" for text in TEXTS])),
        Source("b", jsonl(tmp_path / "b.jsonl", [f"b {text}" for text in TEXTS])),
    ]
    corpus, _ = read_corpus(sources, tokenizer, context=64, held_out=0.1)
    batches = epoch_batches(corpus, [3, 0.5], tokens_per_batch=200, seed=1, epoch=0)
    times = np.bincount([i for batch in batches for i in batch], minlength=len(corpus))
    assert set(times[corpus.source == 0]) == {3}
    assert set(times[corpus.source == 1]) == {0, 1}
    assert 0.4 < times[corpus.source == 1].mean() < 0.6
    sizes = [int(corpus.lengths[batch].sum()) for batch in batches]
    assert max(sizes) <= 200 + 64
    assert np.mean(sizes) > 100


def test_epochs_repeat_by_seed_and_differ_from_each_other(tmp_path, tokenizer):
    source = Source("a", jsonl(tmp_path / "a.jsonl", TEXTS))
    corpus, _ = read_corpus([source], tokenizer, context=64, held_out=0.1)
    first, again, later, other = (
        epoch_batches(corpus, [1], 200, seed, epoch)
        for seed, epoch in ((1, 0), (1, 0), (1, 1), (2, 0))
    )
    assert first == again
    assert first != later != other != first


def test_documents_come_as_often_as_their_source_weighs_and_always_the_same(tmp_path):
    sources = [
        Source("a", jsonl(tmp_path / "a.jsonl", TEXTS[:4]), 2.5),
        Source("b", jsonl(tmp_path / "b.jsonl", TEXTS[4:14]), 0.2),
    ]
    documents = list(weighted_documents(sources))
    counts = [documents.count(text) for text in TEXTS[:14]]
    assert counts == [2, 3, 2, 3, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]
    assert list(weighted_documents(sources)) == documents


def test_folders_are_searched_for_every_format_whatever_the_case_of_its_ending(tmp_path):
    (tmp_path / "a.TXT").write_text("one\n")
    (tmp_path / "b.tsv").write_text("label\ttext\nham\ttwo\n")
    (tmp_path / "c.md").write_text("three\n")
    sources = find_sources([tmp_path], {})
    assert [list(source.documents()) for source in sources] == [["one"], ["two"]]
