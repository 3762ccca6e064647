"""Reads, writes and initialises the weights of a GPT-2 (`model.safetensors`)."""

import math
import os
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from spamgpt.gpt2.config import GPT2Config, ModelFormatError
from spamgpt.gpt2.model import GPT2
from spamgpt.gpt2.paths import utf8_path

# What a weight file may hold beside the parameters: the causal masks that old files keep as
# buffers, and output layers, which a classifier replaces.
_NOT_PARAMETERS = re.compile(r"h\.\d+\.attn\.(masked_)?bias|lm_head\.weight|score\.weight")

# Anything narrower is quantised: the numbers mean nothing without the scales that belong to them.
_DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


def load_gpt2(config: GPT2Config, path: Path) -> GPT2:
    """A GPT-2 whose parameters are the memory-mapped tensors of a weight file.

    Reads both layouts in use: with and without the `transformer.` prefix. Tensors in half precision
    are widened to float32. Raises ModelFormatError naming every tensor that is missing, surplus or
    of the wrong shape.
    """
    with torch.device("meta"):
        model = GPT2(config)
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    weights = read_tensors(path)
    if problems := differences(expected, weights):
        raise ModelFormatError(f"{path} does not fit its config.json: " + "; ".join(problems))
    # assign: the mapped tensors become the parameters, nothing is copied.
    model.load_state_dict({name: t.float() for name, t in weights.items()}, assign=True)
    return model.eval()


def random_weights(config: GPT2Config, seed: int) -> dict[str, Tensor]:
    """Fresh weights, drawn as GPT-2's were (Radford et al. 2019, section 2.3).

    Matrices and embeddings from N(0, 0.02), the projections that write into the residual stream
    scaled by 1/sqrt(2 * n_layer); biases 0; layer norms the identity.
    """
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in GPT2(config).state_dict().items()}
    generator = torch.Generator().manual_seed(seed)
    residual_scale = 1 / math.sqrt(2 * config.n_layer)
    weights = {}
    for name, shape in shapes.items():
        if name.endswith("bias"):
            weights[name] = torch.zeros(shape)
        elif "ln_" in name:
            weights[name] = torch.ones(shape)
        else:
            scale = residual_scale if name.endswith("c_proj.weight") else 1
            weights[name] = torch.normal(0.0, 0.02 * scale, shape, generator=generator)
    return weights


def write_weights(
    weights: dict[str, Tensor], path: Path, metadata: tuple[str, str] | None = None
) -> None:
    """Writes tensors as a safetensors file that `transformers` reads as well.

    With `metadata` the header has that one text by its name; of several the order would be left to
    chance. Raises OSError if the disk is full or the place cannot be written to.
    """
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    try:
        with utf8_path(path) as reachable:
            save_file(contiguous, reachable, metadata=dict([metadata or ("format", "pt")]))
        # The library makes the file private; it gets the access rights of its folder.
        path.chmod(path.parent.stat().st_mode & 0o666)
    except SafetensorError as error:
        # The library hides the system's error in its text; a full disk has to be told as one.
        if match := re.search(r"os error (\d+)", str(error)):
            number = int(match[1])
            raise OSError(number, os.strerror(number), str(path)) from error
        raise


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a weight file, by their names in the model; mapped for as long as one lives.

    Raises ModelFormatError if it is no safetensors file.
    """
    # The errors of safe_open for a file that cannot be opened lack its name.
    path.open("rb").close()
    weights: dict[str, Tensor] = {}
    try:
        with utf8_path(path) as reachable, safe_open(reachable, framework="pt") as file:
            for stored_name in file.keys():  # noqa: SIM118 - the file is no mapping
                name = stored_name.removeprefix("transformer.")
                if _NOT_PARAMETERS.fullmatch(name):
                    continue
                if name in weights:
                    raise ModelFormatError(f"{path} has {name} with and without transformer.")
                weights[name] = file.get_tensor(stored_name)
    except SafetensorError as error:
        raise ModelFormatError(f"{path} is not a whole safetensors file: {error}") from error
    return weights


def not_finite(model: torch.nn.Module) -> list[str]:
    """The names of the parameters that hold NaN or infinity, which no training gets rid of."""
    return [name for name, tensor in model.named_parameters() if not tensor.isfinite().all()]


def differences(expected: Mapping[str, tuple[int, ...]], found: Mapping[str, Tensor]) -> list[str]:
    """Why tensors do not fit a model whose tensors have the shapes `expected`; empty if they do."""
    problems = []
    if missing := sorted(expected.keys() - found.keys()):
        problems.append("missing " + _some(missing))
    if surplus := sorted(found.keys() - expected.keys()):
        problems.append("surplus " + _some(surplus))
    wrong = [
        f"{name} is {tuple(found[name].shape)}, expected {shape}"
        for name, shape in expected.items()
        if name in found and tuple(found[name].shape) != shape
    ]
    if wrong:
        problems.append("wrong shapes: " + _some(wrong))
    return problems + [
        f"{name} holds {tensor.dtype}, not plain floating-point numbers"
        for name, tensor in found.items()
        if tensor.dtype not in _DTYPES
    ]


def _some(names: list[str], most: int = 8) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
