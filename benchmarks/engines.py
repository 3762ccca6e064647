"""Other engines for prediction: they compute the graph that `spamgpt export --to onnx` writes."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
import openvino
from onnxruntime.quantization import QuantType, quantize_dynamic

from benchmarks.world import pad
from spamgpt.classifier.model import SpamClassifier

Inputs = dict[str, npt.NDArray[np.int64]]
Engine = Callable[[Inputs], npt.NDArray[np.float32]]

# An export measures its agreement on so many messages; here it is not asked for.
_MEASURED = 8


def engines(classifier: SpamClassifier, texts: Sequence[str], folder: Path) -> dict[str, Engine]:
    """Each engine by name and precision: token ids and their mask to logits.

    int8 is onnxruntime's dynamic quantisation.
    """
    exact, low = folder / "exact.onnx", folder / "int8.onnx"
    classifier.to_onnx(exact, texts=texts[:_MEASURED])
    quantize_dynamic(exact, low, weight_type=QuantType.QInt8)
    return {
        "ONNX Runtime, fp32": _onnxruntime(exact),
        "ONNX Runtime, int8": _onnxruntime(low),
        "OpenVINO, fp32": _openvino(exact, {"INFERENCE_PRECISION_HINT": "f32"}),
        "OpenVINO, bf16": _openvino(exact, {"INFERENCE_PRECISION_HINT": "bf16"}),
        "OpenVINO, int8": _openvino(low, {}),
    }


def _onnxruntime(path: Path) -> Engine:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda inputs: session.run(["logits"], inputs)[0]


def _openvino(path: Path, settings: dict[str, str]) -> Engine:
    model = openvino.Core().compile_model(path, "CPU", {"PERFORMANCE_HINT": "LATENCY"} | settings)
    return lambda inputs: model(inputs)["logits"]


def batches(token_ids: Sequence[Sequence[int]], size: int) -> list[tuple[list[int], Inputs]]:
    """Indices and padded tokens of messages, so many at once, those of similar length together."""
    order = sorted(range(len(token_ids)), key=lambda index: len(token_ids[index]))
    found = []
    for start in range(0, len(order), size):
        batch = order[start : start + size]
        chosen = [token_ids[index] for index in batch]
        longest = max(map(len, chosen))
        padded = pad(chosen, longest, with_id=0).numpy()
        mask = pad([[1] * len(ids) for ids in chosen], longest, with_id=0).numpy()
        found.append((batch, {"input_ids": padded, "attention_mask": mask}))
    return found
