"""GPT-2 and its head as an ONNX graph, in the order in which the data meets its parts.

Messages are padded on the right, where causality keeps the padding unseen. Of the last block only
the token that the head reads is computed; the others give keys and values.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from spamgpt.gpt2.config import GPT2Config

if TYPE_CHECKING:
    from onnx import ModelProto

# The first operators with GELU's tanh form, and the version of the file that they came with.
_OPSET, _FILE_VERSION = 20, 9
# Added to the score of a token that is not seen.
_UNSEEN = float(np.finfo(np.float32).min)

Array = npt.NDArray[Any]


def build(
    shape: GPT2Config, tensors: Mapping[str, Tensor], temperature: float, int8: bool
) -> "ModelProto":
    """The model: `input_ids` and `attention_mask`, (messages, tokens) int64, to `logits` and
    `probabilities`, (messages, labels) float32; logits are divided by `temperature` already.

    With `int8` the projections of the blocks have 8-bit integer weights, one scale an output, and
    what they multiply is quantised as it comes. Processors that sum such products in 16 bits, those
    of Intel and AMD before VNNI, cut off large sums: there the answers are less exact.
    """
    graph = _Graph(int8)
    weights = {
        name.removeprefix("gpt2."): tensor.detach().float().cpu().numpy()
        for name, tensor in tensors.items()
    }
    x, mask, last = _read(graph, weights)
    for number in range(shape.n_layer):
        is_last = number == shape.n_layer - 1
        block = {
            name.removeprefix(f"h.{number}."): array
            for name, array in weights.items()
            if name.startswith(f"h.{number}.")
        }
        x = _block(graph, shape, f"h.{number}.", block, x, mask, last if is_last else None)
    x = _norm(graph, shape, x, weights, "ln_f")
    x = graph("Squeeze", x, graph.constant(np.array([1])))
    head = graph.constant((weights["head.weight"] / temperature).T, "head.weight")
    bias = graph.constant(weights["head.bias"] / temperature, "head.bias")
    graph("Gemm", x, head, bias, output="logits")
    graph("Softmax", "logits", output="probabilities", axis=1)
    return graph.model(len(weights["head.bias"]))


def _read(graph: "_Graph", weights: Mapping[str, Array]) -> tuple[str, str, str]:
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


def _unseen(graph: "_Graph", seen: str) -> str:
    return graph(
        "Where",
        seen,
        graph.constant(np.float32(0)),
        graph.constant(np.float32(_UNSEEN)),
    )


def _block(
    graph: "_Graph",
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


def _norm(
    graph: "_Graph", shape: GPT2Config, x: str, weights: Mapping[str, Array], name: str
) -> str:
    parameters = [graph.constant(weights[f"{name}.{kind}"]) for kind in ("weight", "bias")]
    return graph("LayerNormalization", x, *parameters, epsilon=shape.layer_norm_epsilon)


class _Graph:
    """Nodes and constants as they come; a call adds a node and gives the name of its output."""

    def __init__(self, int8: bool) -> None:
        self._int8 = int8
        self._nodes: list[Any] = []
        self._constants: dict[str, Any] = {}

    def __call__(self, operator: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        output = output or f"{operator}_{len(self._nodes)}"
        self._add(operator, inputs, [output], attributes)
        return output

    def _add(
        self, operator: str, inputs: Any, outputs: list[str], attributes: Mapping[str, Any]
    ) -> None:
        from onnx import helper

        self._nodes.append(helper.make_node(operator, inputs, outputs, outputs[0], **attributes))

    def constant(self, value: Array | np.float32, name: str = "") -> str:
        """The name of a constant, which is kept once."""
        from onnx import numpy_helper

        array = np.ascontiguousarray(value) if np.ndim(value) else np.asarray(value)
        name = name or f"constant_{len(self._constants)}"
        self._constants[name] = numpy_helper.from_array(array, name)
        return name

    def project(self, x: str, weight: Array, bias: Array, name: str) -> str:
        """x weight + bias."""
        number = len(self._nodes)
        if not self._int8:
            product = self("MatMul", x, self.constant(weight, f"{name}.weight_{number}"))
        else:
            scale = np.maximum(np.abs(weight).max(axis=0), 1e-12) / np.float32(127)
            rounded = self.constant(np.rint(weight / scale).astype(np.int8))
            quantized = [f"{name}.{part}_{number}" for part in ("x", "x_scale", "x_zero")]
            self._add("DynamicQuantizeLinear", [x], quantized, {})
            whole = self("MatMulInteger", quantized[0], rounded, quantized[2])
            scales = self("Mul", quantized[1], self.constant(scale))
            product = self("Mul", self("Cast", whole, to=1), scales)
        return self("Add", product, self.constant(bias))

    def model(self, labels: int) -> "ModelProto":
        """All of it."""
        from onnx import TensorProto, helper

        from spamgpt.version import __version__

        def value(name: str, kind: int, width: str | int) -> Any:
            return helper.make_tensor_value_info(name, kind, ["messages", width])

        graph = helper.make_graph(
            self._nodes,
            "spamgpt",
            [value(name, TensorProto.INT64, "tokens") for name in ("input_ids", "attention_mask")],
            [value(name, TensorProto.FLOAT, labels) for name in ("logits", "probabilities")],
            list(self._constants.values()),
        )
        return helper.make_model(
            graph,
            ir_version=_FILE_VERSION,
            opset_imports=[helper.make_opsetid("", _OPSET)],
            producer_name="spamgpt",
            producer_version=__version__,
        )
