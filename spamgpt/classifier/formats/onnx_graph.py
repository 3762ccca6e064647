"""A classifier as an ONNX graph: GPT-2 and its head, in the order in which the data meets them.

Messages are padded on the right, where causality keeps the padding unseen. Where the head reads one
token, the last block computes only that; the others give keys and values.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from spamgpt.classifier.formats.onnx_ngrams import ngram_logits, with_caution
from spamgpt.classifier.formats.onnx_nodes import Array, Graph
from spamgpt.gpt2.config import GPT2Config
from spamgpt.gpt2.ngrams import NGrams

if TYPE_CHECKING:
    from onnx import ModelProto

_FLOAT = 1  # onnx.TensorProto.FLOAT
# Added to the score of a token that is not seen.
_UNSEEN = float(np.finfo(np.float32).min)


def build(
    shape: GPT2Config,
    tensors: Mapping[str, Tensor],
    ngrams: NGrams | None,
    temperature: float,
    int8: bool,
    mean: bool = False,
) -> "ModelProto":
    """The model: `input_ids` and `attention_mask`, (messages, tokens) int64, to `logits` and
    `probabilities`, (messages, labels) float32; logits are divided by `temperature` already.

    The head reads the last token of a message or, with `mean`, the mean over its tokens. The logits
    of `ngrams`, if given, are added to those of the head.

    With `int8` the projections of the blocks have 8-bit integer weights, one scale an output, and
    what they multiply is quantised as it comes. Processors that sum such products in 16 bits, those
    of Intel and AMD before VNNI, cut off large sums: there the answers are less exact.
    """
    graph = Graph(int8)
    weights = {
        name.removeprefix("gpt2."): tensor.detach().float().cpu().numpy()
        for name, tensor in tensors.items()
        if not name.startswith("ngrams.")
    }
    x, mask, last = _read(graph, weights)
    for number in range(shape.n_layer):
        read_alone = number == shape.n_layer - 1 and not mean
        block = {
            name.removeprefix(f"h.{number}."): array
            for name, array in weights.items()
            if name.startswith(f"h.{number}.")
        }
        x = _block(graph, shape, f"h.{number}.", block, x, mask, last if read_alone else None)
    x = _norm(graph, shape, x, weights, "ln_f")
    axis_1 = graph.constant(np.array([1]))
    if mean:
        own = graph("Cast", "attention_mask", to=_FLOAT)
        own = graph("Unsqueeze", own, graph.constant(np.array([2])))
        summed = graph("ReduceSum", graph("Mul", x, own), axis_1, keepdims=0)
        x = graph("Div", summed, graph("ReduceSum", own, axis_1, keepdims=0))
    else:
        x = graph("Squeeze", x, axis_1)
    head = graph.constant((weights["head.weight"] / temperature).T, "head.weight")
    bias = graph.constant(weights["head.bias"] / temperature, "head.bias")
    if ngrams is None:
        graph("Gemm", x, head, bias, output="logits")
    else:
        of_gpt2 = with_caution(graph, ngrams, graph("Gemm", x, head, bias))
        graph("Add", of_gpt2, ngram_logits(graph, ngrams, temperature), output="logits")
    graph("Softmax", "logits", output="probabilities", axis=1)
    return graph.model(len(weights["head.bias"]))


def _read(graph: Graph, weights: Mapping[str, Array]) -> tuple[str, str, str]:
    """The embedded tokens, what they add to the scores of those they must not see, and where in
    each message, (messages, 1, 1), its last token stands."""
    zero, one, axis_0, axis_1 = (graph.constant(np.array(value)) for value in (0, 1, [0], [1]))
    tokens = graph("Gather", graph("Shape", "input_ids"), one)
    position = graph("Range", zero, tokens, one)
    x = graph(
        "Add",
        graph("Gather", graph.constant(weights["wte.weight"], "wte.weight"), "input_ids"),
        graph("Gather", graph.constant(weights["wpe.weight"], "wpe.weight"), position),
    )
    seen = graph(
        "LessOrEqual", graph("Unsqueeze", position, axis_0), graph("Unsqueeze", position, axis_1)
    )
    own = graph("ReduceSum", "attention_mask", axis_1, keepdims=1)
    last = graph("Unsqueeze", graph("Sub", own, one), axis_1)
    return x, _unseen(graph, seen), last


def _unseen(graph: Graph, seen: str) -> str:
    return graph(
        "Where",
        seen,
        graph.constant(np.float32(0)),
        graph.constant(np.float32(_UNSEEN)),
    )


def _block(
    graph: Graph,
    shape: GPT2Config,
    prefix: str,
    weights: Mapping[str, Array],
    x: str,
    mask: str,
    last: str | None,
) -> str:
    """What a block gives for all tokens or, with `last`, for the one there in each message."""
    n_embd, width = shape.n_embd, shape.n_embd // shape.n_head

    def project(x: str, name: str, columns: slice = slice(None), scale: float = 1) -> str:
        weight = weights[f"{name}.weight"][:, columns] * np.float32(scale)
        bias = weights[f"{name}.bias"][columns] * np.float32(scale)
        return graph.project(x, weight, bias, f"{prefix}{name}")

    def by_head(x: str, *order: int) -> str:
        heads = graph.constant(np.array([0, 0, shape.n_head, width]))
        return graph("Transpose", graph("Reshape", x, heads), perm=order)

    normed = read = _norm(graph, shape, x, weights, "ln_1")
    if last is not None:
        # The mask is that of one token, which sees all up to itself.
        x, read = (graph("GatherND", each, last, batch_dims=1) for each in (x, normed))
        tokens = graph("Gather", graph("Shape", normed), graph.constant(np.array(1)))
        zero, one = graph.constant(np.array(0)), graph.constant(np.array(1))
        seen = graph("LessOrEqual", graph("Range", zero, tokens, one), last)
        mask = _unseen(graph, graph("Unsqueeze", seen, graph.constant(np.array([1]))))
    query = project(read, "attn.c_attn", slice(n_embd), width**-0.5)
    key = project(normed, "attn.c_attn", slice(n_embd, 2 * n_embd))
    value = project(normed, "attn.c_attn", slice(2 * n_embd, None))
    scores = graph("MatMul", by_head(query, 0, 2, 1, 3), by_head(key, 0, 2, 3, 1))
    attention = graph("Softmax", graph("Add", scores, mask), axis=-1)
    attended = graph("MatMul", attention, by_head(value, 0, 2, 1, 3))
    flat = graph.constant(np.array([0, 0, n_embd]))
    attended = graph("Reshape", graph("Transpose", attended, perm=(0, 2, 1, 3)), flat)
    x = graph("Add", x, project(attended, "attn.c_proj"))
    activated = project(_norm(graph, shape, x, weights, "ln_2"), "mlp.c_fc")
    activated = graph("Gelu", activated, approximate="tanh")
    return graph("Add", x, project(activated, "mlp.c_proj"))


def _norm(graph: Graph, shape: GPT2Config, x: str, weights: Mapping[str, Array], name: str) -> str:
    parameters = [graph.constant(weights[f"{name}.{kind}"]) for kind in ("weight", "bias")]
    return graph("LayerNormalization", x, *parameters, epsilon=shape.layer_norm_epsilon)
