"""The nodes and constants of an ONNX graph, as they are written one by one."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from onnx import ModelProto

# The first operators with GELU's tanh form, and the version of the file that they came with.
_OPSET, _FILE_VERSION = 20, 9

Array = npt.NDArray[Any]


class Graph:
    """Nodes and constants as they come. With `int8` projections have 8-bit integer weights."""

    def __init__(self, int8: bool) -> None:
        self._int8 = int8
        self._nodes: list[Any] = []
        self._constants: dict[str, Any] = {}

    def __call__(self, operator: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Adds a node with one output, whose name this returns."""
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

    def unique(self, values: str) -> tuple[str, str]:
        """The different values of (values,), sorted, and how often each of them is there."""
        outputs = [f"Unique_{len(self._nodes)}", "", "", f"Unique_counts_{len(self._nodes)}"]
        self._add("Unique", [values], outputs, {"sorted": 1})
        return outputs[0], outputs[3]

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
