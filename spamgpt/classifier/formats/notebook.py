"""The classifier of the published notebook, from the `.pth` file that it saves.

Raschka 2024, Build a Large Language Model (From Scratch), chapter 6: `torch.save` of a state
dictionary whose linear layers are stored as (out, in), with queries, keys and values apart.
"""

import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from spamgpt.classifier.config import SAVED_CONFIG_FILE, ClassifierConfig, positive_label
from spamgpt.classifier.folder import ClassifierFiles
from spamgpt.classifier.formats.contents import from_contents
from spamgpt.errors import BadDataError, UsageError
from spamgpt.gpt2.folder import CONFIG_FILE, TOKENIZER_FILES

SUFFIXES = (".pth", ".pt")
# As long as the longest training message of the published notebook: the file does not tell.
PADDING = 120

_NAMES = {
    "tok_emb.weight": "gpt2.wte.weight",
    "pos_emb.weight": "gpt2.wpe.weight",
    "final_norm.scale": "gpt2.ln_f.weight",
    "final_norm.shift": "gpt2.ln_f.bias",
    "out_head.weight": "head.weight",
    "out_head.bias": "head.bias",
}
# Of a block.
_PARTS = {
    "norm1.scale": "ln_1.weight",
    "norm1.shift": "ln_1.bias",
    "att.out_proj.weight": "attn.c_proj.weight",
    "att.out_proj.bias": "attn.c_proj.bias",
    "norm2.scale": "ln_2.weight",
    "norm2.shift": "ln_2.bias",
    "ff.layers.0.weight": "mlp.c_fc.weight",
    "ff.layers.0.bias": "mlp.c_fc.bias",
    "ff.layers.2.weight": "mlp.c_proj.weight",
    "ff.layers.2.bias": "mlp.c_proj.bias",
}
_OF_A_BLOCK = re.compile(r"trf_blocks\.(\d+)\.(.+)")
_QUERY_KEY_VALUE = ("att.W_query", "att.W_key", "att.W_value")


def read_notebook(
    path: Path, model: Path, labels: Sequence[str], padding: int | None = PADDING
) -> ClassifierFiles:
    """The classifier of a state dictionary, which reads messages as the notebook does.

    `model` is a folder with the shape and the tokenizer of the GPT-2 that it was made from, whose
    weights are not read. `labels` are named in the order of the head's outputs. `padding` is the
    number of tokens to which messages were padded; None: not at all. Nothing but tensors is loaded
    from the file. Raises UsageError, or BadDataError naming what does not fit.
    """
    tensors = _renamed(_state_dictionary(path), path)
    head = tensors["head.weight"]
    if len(labels) != len(head) or len(set(labels)) < len(labels):
        raise UsageError(
            f"`labels` is {','.join(labels)}; {path} has a head for {len(head)} labels.",
            "Name as many different ones, in the order of the numbers that they were trained as.",
        )
    config = ClassifierConfig(
        list(labels),
        positive_label(labels),
        0.5,
        "imported",
        pooling="last" if padding is None else "last-position",
        padding=padding,
    )
    contents = {name: (model / name).read_bytes() for name in (CONFIG_FILE, *TOKENIZER_FILES)}
    contents[SAVED_CONFIG_FILE] = config.to_json().encode()
    try:
        return from_contents(contents, tensors, None, path)
    except BadDataError as error:
        raise BadDataError(
            error.message, "Name the GPT-2 that it was made from, such as `model=gpt2`."
        ) from error


def _state_dictionary(path: Path) -> dict[str, Tensor]:
    """The tensors of the file; code that a pickle may hold is not run."""
    path.open("rb").close()
    hint = "Save it in the notebook with: torch.save(model.state_dict(), FILE)"
    try:
        state = torch.load(
            path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path)
        )
    # What a damaged or hostile pickle ends with is any error at all.
    except Exception as error:
        raise BadDataError(
            f"{path} is not a state dictionary of tensors alone, and nothing else is loaded.", hint
        ) from error
    if not isinstance(state, Mapping) or not all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in state.items()
    ):
        raise BadDataError(f"{path} is not a state dictionary: it holds other things.", hint)
    return dict(state)


def _renamed(state: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """The tensors by our names and in our layout; what is not the notebook's is kept as it is."""
    if missing := [name for name in _NAMES if name not in state]:
        raise BadDataError(
            f"{path} has no {', '.join(missing)}: it is not the notebook's classifier.",
            "Give a state dictionary of the classifier of chapter 6.",
        )
    tensors: dict[str, Tensor] = {}
    blocks: dict[str, dict[str, Tensor]] = {}
    for name, tensor in state.items():
        if match := _OF_A_BLOCK.fullmatch(name):
            blocks.setdefault(match[1], {})[match[2]] = tensor
        else:
            tensors[_NAMES.get(name, name)] = tensor
    for number, block in blocks.items():
        block.pop("att.mask", None)  # causality, not a parameter
        weights = [block.pop(f"{name}.weight", None) for name in _QUERY_KEY_VALUE]
        biases = [block.pop(f"{name}.bias", None) for name in _QUERY_KEY_VALUE]
        found = [weight for weight in weights if weight is not None]
        if len(found) == 3 and all(weight.dim() == 2 for weight in found):
            block["attn.c_attn.weight"] = torch.cat(found)
            # The notebook's own pre-training has none.
            block["attn.c_attn.bias"] = torch.cat(
                [
                    weight.new_zeros(len(weight)) if bias is None else bias
                    for weight, bias in zip(found, biases, strict=True)
                ]
            )
        for name, tensor in block.items():
            turned = tensor.t().contiguous() if tensor.dim() == 2 else tensor
            tensors[f"gpt2.h.{number}.{_PARTS.get(name, name)}"] = turned
    return tensors
