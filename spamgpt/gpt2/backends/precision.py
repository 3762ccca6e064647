"""Matrix products in a lower precision than the rest of the model."""

import copy
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spamgpt.gpt2.model import GPT2, Projection
from spamgpt.gpt2.weights import read_tensors

# Rows of a product that is compiled for its shape are rounded up to a multiple of this.
_ROWS = 64


def lowered(
    gpt2: GPT2, depth: int, dtype: torch.dtype, weights: Path | None = None, unchanged: int = 0
) -> GPT2:
    """The model with the projections of its first `depth` blocks in bfloat16 or int8.

    Nearly all the work of a block is in its projections, and of the model's last block little is
    computed: that one stays. Embeddings, norms, the sums of the residual stream and what comes out
    keep their precision too and, as everything that does not change, are shared with the model
    given.

    The first `unchanged` blocks are as in the file `weights`, and are read from there, one mapped
    after the other: what of the model is mapped already takes no memory while it is not read.
    """
    if dtype == torch.float32:
        return gpt2
    # deepcopy takes what the memo has for an object instead of copying it.
    memo: dict[int, object] = {id(parameter): parameter for parameter in gpt2.parameters()}
    for number, block in enumerate(gpt2.blocks(0, min(depth, gpt2.config.n_layer - 1))):
        stored = read_tensors(weights) if weights and number < unchanged else {}
        for name, module in block.named_modules():
            if not isinstance(module, Projection):
                continue
            weight, bias = (
                stored.get(f"h.{number}.{name}.{kind}", parameter.detach()).to(parameter.device)
                for kind, parameter in module.named_parameters()
            )
            if dtype == torch.int8:
                memo[id(module)] = QuantizedProjection(weight, bias)
            elif FusedProjection.fits(weight.device):
                activated = module is block.mlp.c_fc
                memo[id(module)] = FusedProjection(weight, bias, activated)
                if activated:
                    memo[id(block.mlp.act)] = nn.Identity()
            else:
                memo[id(module.weight)] = nn.Parameter(weight.to(dtype), requires_grad=False)
                memo[id(module.bias)] = nn.Parameter(bias.to(dtype), requires_grad=False)
    return copy.deepcopy(gpt2, memo)


def _with_recurring_rows(x: Tensor) -> Tensor:
    """(n, channels) -> the same with rows of zeros behind, up to a number that recurs.

    See `compiled_by_shape`.
    """
    return F.pad(x, (0, 0, 0, -len(x) % _ROWS))


class FusedProjection(nn.Module):
    """A projection in bfloat16, with the activation behind it if there is one, as one operation.

    oneDNN has the weights in the layout that suits the processor, and applies the activation while
    the product is still in its cache; both as torch's own compiler would have it.
    """

    dtype = torch.bfloat16

    def __init__(self, weight: Tensor, bias: Tensor, activated: bool) -> None:
        super().__init__()
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight.to(self.dtype).t())
        self._bias = bias.to(self.dtype)
        self._activation = "gelu" if activated else "none"

    @staticmethod
    def fits(device: torch.device) -> bool:
        """Whether a device computes this."""
        return (
            device.type == "cpu"
            and torch.backends.mkldnn.is_available()
            and torch.ops.mkldnn._is_mkldnn_bf16_supported()
        )

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs) -> (n, outputs)."""
        return torch.ops.mkldnn._linear_pointwise(
            _with_recurring_rows(x), self._weight, self._bias, self._activation, [], "tanh"
        )[: len(x)]


class QuantizedProjection(nn.Module):
    """A projection whose matrix product is in 8-bit integers; what goes in and out is bfloat16.

    Weights have a scale for each output and inputs one for each token, both symmetric (Dettmers et
    al. 2022, LLM.int8(), section 2.1). The product is oneDNN's, as torch's own quantisation calls
    it on processors: it takes unsigned inputs, so theirs are moved up by 128.
    """

    dtype = torch.bfloat16

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        weight = weight.float()
        self._scales = (weight.abs().amax(0) / 127).clamp(min=1e-12)
        rounded = (weight / self._scales).round().to(torch.int8)
        self._packed = torch.ops.onednn.qlinear_prepack(rounded.t().contiguous(), None)
        self._zeros = torch.zeros(len(bias), dtype=torch.int32)
        self._bias = bias.to(self.dtype)

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs) -> (n, outputs)."""
        # Not 127: bfloat16 rounds the scale, and beyond 127 a number would wrap round.
        scale = 126.5 / x.abs().amax(1, keepdim=True).clamp_(min=1e-6)
        rounded = _with_recurring_rows((x * scale).round_().add_(128).to(torch.uint8))
        product = torch.ops.onednn.qlinear_pointwise(
            *(rounded, 1.0, 128, self._packed, self._scales, self._zeros),
            *(None, 1.0, 0, self.dtype, "none", [], ""),
        )
        return torch.addcmul(self._bias, product[: len(x)], scale.reciprocal())
