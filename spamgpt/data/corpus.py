"""Unlabelled text for pre-training: files to documents, documents to one flat row of token ids."""

import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import numpy.typing as npt

from spamgpt.data.files import lines_of, plain_name
from spamgpt.data.rows import TEXT, bad_row, format_of, read_rows
from spamgpt.errors import BadDataError, MissingInputError, UsageError
from spamgpt.gpt2.packing import PackedTokens, pack
from spamgpt.gpt2.tokenizer import Tokenizer

_SUFFIXES = (".txt", ".jsonl", ".ndjson", ".csv", ".tsv", ".parquet", ".xlsx")


@dataclass(frozen=True)
class Source:
    """One file of documents; `weight` says how often an epoch goes through it."""

    name: str
    path: Path
    weight: float = 1.0

    def documents(self) -> Iterator[str]:
        """The non-empty documents: a line of text, or the field `text` of a table's row.

        Raises BadDataError naming file and line.
        """
        with closing(lines_of(self.path)) as lines:
            # An empty line of a text file holds no document.
            for row in read_rows(lines, format_of(plain_name(self.path)), str(self.path)):
                if TEXT not in row.fields:
                    raise bad_row(str(self.path), row.line, f"has no {TEXT!r}")
                if row.fields[TEXT].strip():
                    yield row.fields[TEXT]


def find_sources(paths: Sequence[Path], weights: Mapping[str, float]) -> list[Source]:
    """The files of a corpus; of folders all text and table files, plain or `.gz`.

    A source is named after its file. `weights` are by name, 1 where none is given, and 0 leaves a
    source out. Raises MissingInputError or UsageError.
    """
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            found = (
                p for p in path.rglob("*") if PurePath(plain_name(p)).suffix.lower() in _SUFFIXES
            )
            files += sorted(found)
        elif path.is_file():
            files.append(path)
        else:
            raise MissingInputError(f"There is no text at {path}.", "Give files or folders.")
    sources = {}
    for file in files:
        name = PurePath(plain_name(file)).stem
        if name in sources:
            raise UsageError(f"Two sources are called {name!r}.", "Rename one of the files.")
        sources[name] = Source(name, file, weights.get(name, 1.0))
    if unknown := sorted(weights.keys() - sources.keys()):
        raise UsageError(
            f"There is no source {', '.join(unknown)} to weigh.",
            f"The sources are: {', '.join(sources)}",
        )
    chosen = [source for source in sources.values() if source.weight > 0]
    if not chosen:
        raise MissingInputError(
            "There is no text to train on.",
            "Give one of the sources a weight above 0."
            if sources
            else "Give text, JSONL, CSV, TSV, Parquet or Excel files.",
        )
    return chosen


def weighted_documents(sources: Sequence[Source]) -> Iterator[str]:
    """The documents of all sources, each as often as its source's weight says.

    With a weight of 2.5, every document comes twice and every second one once more.
    """
    for source in sources:
        for number, text in enumerate(source.documents()):
            for _ in range(int((number + 1) * source.weight) - int(number * source.weight)):
                yield text


@dataclass(frozen=True)
class Corpus:
    """Documents as token ids, each ended by the end-of-text token and cut to pieces of the context.

    `token_ids` is flat; piece i stands from `offsets[i]` to `offsets[i + 1]` and belongs to the
    source with the number `source[i]`.
    """

    token_ids: npt.NDArray[np.int32]
    offsets: npt.NDArray[np.int64]
    source: npt.NDArray[np.int16]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Tokens of each piece."""
        return np.diff(self.offsets)

    def pack(self, pieces: Sequence[int]) -> PackedTokens:
        """The chosen pieces, in the order of the indices."""
        return pack(
            [self.token_ids[self.offsets[i] : self.offsets[i + 1]].tolist() for i in pieces]
        )


@dataclass(frozen=True)
class CorpusShard:
    """What one of several readers has read: every document whose number is its own.

    The first of each pair is to train on, the second held out. `document` is the number of the
    document, counted through all sources, that each piece is of.
    """

    corpora: tuple[Corpus, Corpus]
    document: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]


def read_corpus(
    sources: Sequence[Source], tokenizer: Tokenizer, context: int, held_out: float
) -> tuple[Corpus, Corpus]:
    """Reads all sources; returns the part to train on and the part held out.

    What is held out, about the share `held_out` of the documents, is told by each text's checksum,
    so that repeats of a text are on the same side and no seed moves it. Raises BadDataError.
    """
    return join_shards([read_shard(sources, tokenizer, context, held_out, 0, 1)])


def read_shard(
    sources: Sequence[Source],
    tokenizer: Tokenizer,
    context: int,
    held_out: float,
    shard: int,
    shards: int,
) -> CorpusShard:
    """Reads one of several shards of all sources, as `read_corpus`: every so many documents."""
    parts: tuple[list[list[int]], list[list[int]]] = ([], [])
    numbers: tuple[list[int], list[int]] = ([], [])
    documents: tuple[list[int], list[int]] = ([], [])
    end = tokenizer.encoding.eot_token
    document = -1
    for number, source in enumerate(sources):
        for text in source.documents():
            document += 1
            if document % shards != shard:
                continue
            side = int(zlib.crc32(text.encode("utf-8", "replace")) % 10_000 < held_out * 10_000)
            token_ids = [*tokenizer.encode([text])[0], end]
            # Pieces overlap by one token, so that every token but the first is predicted once.
            for start in range(0, len(token_ids) - 1, context - 1):
                parts[side].append(token_ids[start : start + context])
                numbers[side].append(number)
                documents[side].append(document)
    training, held = (
        _corpus(pieces, number) for pieces, number in zip(parts, numbers, strict=True)
    )
    of_training, of_held = (np.array(each, dtype=np.int64) for each in documents)
    return CorpusShard((training, held), (of_training, of_held))


def join_shards(shards: Sequence[CorpusShard]) -> tuple[Corpus, Corpus]:
    """The whole that shards are parts of, in the order of the documents; raises BadDataError."""
    training, held = (_joined(shards, side) for side in (0, 1))
    if not len(training) or not len(held):
        raise BadDataError(
            f"The corpus has {len(training)} pieces to train on and {len(held)} held out.",
            "Give more text.",
        )
    return training, held


def epoch_batches(
    corpus: Corpus, weights: Sequence[float], tokens_per_batch: int, seed: int, epoch: int
) -> list[list[int]]:
    """The batches of one epoch: pieces by the weights of their sources, shuffled, of like length.

    A fractional weight takes that share of a source's pieces once more. A batch holds as many
    pieces as fit into `tokens_per_batch`. The same seed and epoch always give the same.
    """
    draw = np.random.default_rng([seed, epoch])
    times = np.asarray(weights)[corpus.source] + draw.random(len(corpus))
    repeats = np.floor(times).astype(np.int64)
    order = draw.permutation(np.repeat(np.arange(len(corpus)), repeats))
    lengths = corpus.lengths
    batches: list[list[int]] = []
    # Sorting within windows keeps attention from padding much and the order nearly random.
    pieces_per_window = max(1, 64 * tokens_per_batch // int(lengths.mean() + 1))
    for start in range(0, len(order), pieces_per_window):
        window = order[start : start + pieces_per_window]
        window = window[np.argsort(lengths[window], kind="stable")]
        ends = np.cumsum(lengths[window]) // tokens_per_batch
        batches += [part.tolist() for part in np.split(window, np.flatnonzero(np.diff(ends)) + 1)]
    return [batches[index] for index in draw.permutation(len(batches))]


def describe_sources(
    sources: Sequence[Source], training: Corpus, held_out: Corpus
) -> list[dict[str, Any]]:
    """Each source with its tokens, and its share of what an epoch trains on."""
    tokens = np.bincount(training.source, training.lengths, minlength=len(sources))
    held = np.bincount(held_out.source, held_out.lengths, minlength=len(sources))
    weighted = tokens * [source.weight for source in sources]
    return [
        {
            "source": source.name,
            "weight": source.weight,
            "tokens": int(tokens[number]),
            "held_out_tokens": int(held[number]),
            "share": round(float(weighted[number] / weighted.sum()), 4),
        }
        for number, source in enumerate(sources)
    ]


def _corpus(pieces: list[list[int]], numbers: list[int]) -> Corpus:
    offsets = np.zeros(len(pieces) + 1, dtype=np.int64)
    np.cumsum([len(piece) for piece in pieces], out=offsets[1:])
    token_ids = np.empty(offsets[-1], dtype=np.int32)
    for start, piece in zip(offsets, pieces, strict=False):
        token_ids[start : start + len(piece)] = piece
    return Corpus(token_ids, offsets, np.array(numbers, dtype=np.int16))


def _joined(shards: Sequence[CorpusShard], side: int) -> Corpus:
    if len(shards) == 1:
        return shards[0].corpora[side]
    corpora = [shard.corpora[side] for shard in shards]
    order = np.argsort(np.concatenate([shard.document[side] for shard in shards]), kind="stable")
    lengths = np.concatenate([corpus.lengths for corpus in corpora])
    token_ids = np.concatenate([corpus.token_ids for corpus in corpora])
    starts = (np.cumsum(lengths) - lengths)[order]
    offsets = np.concatenate([[0], np.cumsum(lengths[order])])
    # Where each token stood: as far from the start of its piece as it will stand.
    places = np.repeat(starts - offsets[:-1], lengths[order]) + np.arange(offsets[-1])
    source = np.concatenate([corpus.source for corpus in corpora])
    return Corpus(token_ids[places], offsets, source[order])
