"""A model whose matrix products are in the precision, and by the library, that prediction takes."""

import copy
from pathlib import Path

import torch
from torch import Tensor, nn

from spamgpt.gpt2.backends.projections import (
    FusedMLP,
    FusedProjection,
    LowProjection,
    QuantizedProjection,
    fused_projections_work,
)
from spamgpt.gpt2.model import GPT2
from spamgpt.gpt2.weights import read_tensors


def lowered(
    gpt2: GPT2,
    depth: int,
    dtype: torch.dtype,
    weights: Path | None = None,
    unchanged: int = 0,
    one_only: bool = True,
    fused: bool = False,
) -> GPT2:
    """The model with the projections of its first `depth` blocks in bfloat16, int8 or float32.

    Nearly all the work of a block is in its projections. With `one_only`, where of the model's last
    block one token of each message is computed, that block stays as it is. Embeddings, norms, the
    sums of the residual stream and what comes out keep their precision too and, as everything that
    does not change, are shared with the model given. In float32 that is the model itself, unless
    they are to be `fused` (`FusedProjection`) and that works.

    The first `unchanged` blocks are as in the file `weights` and are read from there, one mapped
    after the other: what of the model is mapped already takes no memory while it is not read.
    """
    if dtype == torch.float32 and not (fused and fused_projections_work(dtype)):
        return gpt2
    # deepcopy takes what the memo has for an object instead of copying it.
    memo: dict[int, object] = {id(parameter): parameter for parameter in gpt2.parameters()}
    for number, block in enumerate(gpt2.blocks(0, min(depth, gpt2.config.n_layer - one_only))):
        stored = read_tensors(weights) if weights and number < unchanged else {}
        projections = {
            "attn.c_attn": block.attn.c_attn,
            "attn.c_proj": block.attn.c_proj,
            "mlp.c_fc": block.mlp.c_fc,
            "mlp.c_proj": block.mlp.c_proj,
        }
        for name, module in projections.items():
            # An adapter in the place of a projection is merged into it.
            weight, bias = (
                stored.get(f"h.{number}.{name}.{kind}", tensor.detach()).to(tensor.device)
                for kind, tensor in zip(("weight", "bias"), module.effective_weights(), strict=True)
            )
            memo[id(module)] = _lowered(weight, bias, module is block.mlp.c_fc, dtype)
        c_fc, c_proj = memo[id(block.mlp.c_fc)], memo[id(block.mlp.c_proj)]
        if isinstance(c_fc, FusedProjection):
            assert isinstance(c_proj, nn.Module)
            memo[id(block.mlp)] = FusedMLP(c_fc, c_proj)
    return copy.deepcopy(gpt2, memo)


def _lowered(weight: Tensor, bias: Tensor, activated: bool, dtype: torch.dtype) -> nn.Module:
    if dtype == torch.int8:
        # GELU by itself, behind an integer product, takes longer than that saves.
        if not (activated and fused_projections_work(torch.bfloat16)):
            return QuantizedProjection(weight, bias)
        dtype = torch.bfloat16
    if weight.device.type == "cpu" and fused_projections_work(dtype):
        return FusedProjection(weight, bias, activated, dtype)
    return LowProjection(weight, bias)
