"""Matrix products in a lower precision than the rest of the model."""

import copy

import torch
from torch import nn

from spamgpt.gpt2.model import GPT2, Projection


def lowered(gpt2: GPT2, depth: int, dtype: torch.dtype) -> GPT2:
    """The model with the projections of its first `depth` blocks in another precision.

    Nearly all the work of a block is in its projections. Embeddings, norms, the sums of the
    residual stream and what comes out keep their precision and, as everything that does not change,
    are shared with the model given.
    """
    if dtype == torch.float32:
        return gpt2
    # deepcopy takes what the memo has for an object instead of copying it.
    memo: dict[int, object] = {id(parameter): parameter for parameter in gpt2.parameters()}
    for module in gpt2.h[:depth].modules():
        if isinstance(module, Projection):
            for parameter in module.parameters():
                memo[id(parameter)] = nn.Parameter(parameter.detach().to(dtype), False)
    return copy.deepcopy(gpt2, memo)
