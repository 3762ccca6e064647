"""The linear model on n-grams (`spamgpt.gpt2.ngrams`) as nodes of an ONNX graph.

As there, the messages lie one behind the other: padding falls out before anything is hashed.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from torch import Tensor

from spamgpt.classifier.formats.onnx_nodes import Graph
from spamgpt.gpt2.ngram_counts import (
    ALL_BUCKETS,
    BEGINS_ALONE,
    BITS,
    BUCKETS,
    BYTES,
    IN_WORDS,
    KINDS,
    POWERS,
    PRIME,
    SPACE,
    TOKENS,
    WORDS,
)
from spamgpt.gpt2.ngrams import NGrams

_INT64, _FLOAT = 7, 1  # onnx.TensorProto's numbers
_TO_THE_END = 2**62


def ngram_logits(graph: Graph, ngrams: NGrams, temperature: float) -> str:
    """(messages, labels): the logits for the graph's inputs, divided by `temperature`.

    The tables of the model are kept in half precision, in which they are fitted.
    """
    messages = graph("Shape", "input_ids", end=1)
    spelt = _spelt(graph, ngrams)
    hashed = [
        *_keys(graph, *spelt, BYTES, 0),
        *_keys(graph, *_tokens(graph), TOKENS, BUCKETS),
        *_keys(graph, *_words(graph, *spelt), WORDS, 2 * BUCKETS),
    ]
    keys, counts = graph.unique(graph("Concat", *hashed, axis=0))
    bucket = graph("Mod", keys, _int(graph, ALL_BUCKETS))
    # A group is a kind of a message: each has a norm of its own.
    group = graph("Div", keys, _int(graph, BUCKETS))
    occurs = graph("Log", graph("Cast", counts, to=_FLOAT))
    value = graph(
        "Mul", graph("Add", occurs, _float(graph, 1)), _rows(graph, "idf", ngrams.idf, bucket)
    )
    column = graph("Unsqueeze", value, _ints(graph, 1))
    squares = _summed(graph, graph("Mul", column, column), group, messages)
    weighted = graph("Mul", column, _rows(graph, "weight", ngrams.weight, bucket))
    norm = graph("Sqrt", graph("Max", squares, _float(graph, 1e-12)))
    logits = graph("Div", _summed(graph, weighted, group, messages), norm)
    others = ngrams.weight.shape[1]
    of_kinds = graph("Reshape", logits, _ints(graph, -1, KINDS, others))
    logits = graph("ReduceSum", of_kinds, _ints(graph, 1), keepdims=0)
    bias = graph.constant(ngrams.bias.detach().cpu().numpy(), "ngrams.bias")
    logits = graph("Div", graph("Add", logits, bias), _float(graph, temperature))
    # The logit of the first label is 0.
    return graph("Pad", logits, _ints(graph, 0, 1, 0, 0))


def with_caution(graph: Graph, ngrams: NGrams, logits: str) -> str:
    """GPT-2's logits, those of messages that its vocabulary does not cover as much smaller."""
    caution = ngrams.caution.item()
    if not caution:
        return logits
    length = graph("Mul", _lengths(graph, ngrams, "input_ids"), "attention_mask")
    spelt, tokens = (
        graph("Cast", graph("ReduceSum", summed, _ints(graph, 1), keepdims=1), to=_FLOAT)
        for summed in (length, "attention_mask")
    )
    one, nothing = _float(graph, 1), _float(graph, 0)
    coverage = graph("Clip", graph("Sub", graph("Div", spelt, tokens), one), nothing, one)
    missing = graph("Mul", graph("Sub", one, coverage), _float(graph, caution))
    return graph("Mul", logits, graph("Sub", one, missing))


def _tokens(graph: Graph) -> tuple[str, str]:
    """The tokens of all messages, and the message of each."""
    places = graph("NonZero", "attention_mask")
    return _at(graph, "input_ids", places), _row(graph, places, 0)


def _spelt(graph: Graph, ngrams: NGrams) -> tuple[str, str]:
    """The bytes of all messages, with a space before and after each, and the message of each."""
    # A token without bytes stands where padding is.
    counter = ngrams.counter
    nothing = counter.space + 1
    starts = graph.constant(np.append(counter.starts, 0), "ngrams.starts")
    spelt_bytes = counter.spelt_bytes.astype(np.uint8)
    own = graph("Cast", "attention_mask", to=9)
    token_ids = graph("Where", own, "input_ids", _int(graph, nothing))
    spaced = graph("Pad", token_ids, _ints(graph, 0, 1, 0, 1), _int(graph, counter.space))
    length = _lengths(graph, ngrams, spaced)
    longest = graph("ReduceMax", length, keepdims=0)
    within = graph("Range", _int(graph, 0), longest, _int(graph, 1))
    # (messages, tokens, longest): each token has as many bytes as it is long.
    there = graph("NonZero", graph("Less", within, graph("Unsqueeze", length, _ints(graph, 2))))
    token_places = graph("Slice", there, _ints(graph, 0), _ints(graph, 2))
    start = _at(graph, graph("Gather", starts, spaced), token_places)
    places = graph("Add", start, _row(graph, there, 2))
    found = graph("Gather", graph.constant(spelt_bytes, "ngrams.bytes"), places)
    return graph("Cast", found, to=_INT64), _row(graph, there, 0)


def _lengths(graph: Graph, ngrams: NGrams, token_ids: str) -> str:
    """How many bytes each token has; the one after those of the counter has none."""
    lengths = graph.constant(np.append(ngrams.counter.lengths, 0), "ngrams.lengths")
    return graph("Gather", lengths, token_ids)


def _words(graph: Graph, spelt: str, message: str) -> tuple[str, str]:
    """A number for each word of the bytes, and the message of each; as `NGramCounter` has them."""
    inside = graph("Gather", graph.constant(IN_WORDS, "ngrams.in_words"), spelt)
    visible = graph("Not", graph("Equal", spelt, _int(graph, SPACE)))
    alone = graph("Gather", graph.constant(BEGINS_ALONE, "ngrams.begins_alone"), spelt)
    goes_on = graph("And", inside, _later(graph, inside, 1))
    begins = graph("Or", graph("Not", goes_on), graph("Or", alone, _later(graph, alone, 3)))
    begins = graph("Cast", graph("Compress", begins, visible, axis=0), to=_INT64)
    first = _row(graph, graph("NonZero", begins), 0)
    number = graph("Sub", graph("CumSum", begins, _int(graph, 0)), _int(graph, 1))
    count = graph("Shape", begins)
    place = graph("Range", _int(graph, 0), graph("Squeeze", count), _int(graph, 1))
    place = graph("Sub", place, graph("Gather", first, number))
    place = graph("Mod", place, _int(graph, len(POWERS)))
    power = graph("Gather", graph.constant(POWERS, "ngrams.powers"), place)
    parts = graph("Mul", graph("Compress", spelt, visible, axis=0), power)
    empty = graph("Expand", _int(graph, 0), graph("Shape", first))
    words = graph("ScatterElements", empty, number, parts, axis=0, reduction="add")
    of_words = graph("Gather", graph("Compress", message, visible, axis=0), first)
    return graph("BitwiseAnd", words, _int(graph, BITS)), of_words


def _later(graph: Graph, flags: str, places: int) -> str:
    """Flags of bytes as those so many places after them have them; the first bytes have none."""
    none = graph.constant(np.zeros(places, np.bool_))
    shifted = graph("Concat", none, flags, axis=0)
    return graph("Slice", shifted, _ints(graph, 0), graph("Shape", flags))


def _keys(
    graph: Graph, symbols: str, message: str, sizes: Sequence[int], first_bucket: int
) -> Iterator[str]:
    """For each size, its n-grams: the message times ALL_BUCKETS, plus the bucket."""
    for size in sizes:
        hashed = _int(graph, size)
        for place in range(size):
            symbol = _shifted(graph, symbols, place, size)
            product = graph("Mul", graph("BitwiseXor", hashed, symbol), _int(graph, PRIME))
            hashed = graph("BitwiseAnd", product, _int(graph, BITS))
        folded = graph("BitwiseXor", hashed, graph("Div", hashed, _int(graph, 1 << 15)))
        bucket = graph("BitwiseAnd", folded, _int(graph, BUCKETS - 1))
        first, last = (_shifted(graph, message, place, size) for place in (0, size - 1))
        of_message = graph("Mul", first, _int(graph, ALL_BUCKETS))
        key = graph("Add", of_message, graph("Add", bucket, _int(graph, first_bucket)))
        yield graph("Compress", key, graph("Equal", first, last), axis=0)


def _shifted(graph: Graph, symbols: str, place: int, size: int) -> str:
    """For each n-gram of that size, its symbol at a place; nothing where there is none."""
    end = place - size + 1 or _TO_THE_END
    return graph("Slice", symbols, _ints(graph, place), _ints(graph, end))


def _rows(graph: Graph, name: str, table: Tensor, bucket: str) -> str:
    halves = table.detach().half().cpu().numpy()
    found = graph("Gather", graph.constant(halves, f"ngrams.{name}"), bucket)
    return graph("Cast", found, to=_FLOAT)


def _summed(graph: Graph, values: str, group: str, messages: str) -> str:
    """(KINDS messages, columns): the sums of the values (n-grams, columns) of each group."""
    columns = graph("Shape", values, start=1)
    groups = graph("Mul", messages, _ints(graph, KINDS))
    empty = graph("ConstantOfShape", graph("Concat", groups, columns, axis=0))
    column = graph("Unsqueeze", group, _ints(graph, 1))
    places = graph("Expand", column, graph("Shape", values))
    return graph("ScatterElements", empty, places, values, axis=0, reduction="add")


def _at(graph: Graph, values: str, places: str) -> str:
    """The values at places, (axes, places)."""
    return graph("GatherND", values, graph("Transpose", places, perm=(1, 0)))


def _row(graph: Graph, values: str, row: int) -> str:
    return graph("Gather", values, _int(graph, row), axis=0)


def _int(graph: Graph, value: int) -> str:
    return graph.constant(np.array(value), f"int_{value}")


def _ints(graph: Graph, *values: int) -> str:
    return graph.constant(np.array(values), f"ints_{'_'.join(map(str, values))}")


def _float(graph: Graph, value: float) -> str:
    return graph.constant(np.array(value, np.float32))
