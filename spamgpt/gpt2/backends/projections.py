"""Projections for prediction: each takes the place of one of the model's through its call.

Whatever precision goes in, bfloat16 comes out, or float32 of a projection in that.
"""

import time
from collections.abc import Callable
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spamgpt.gpt2.backends.selfcheck import agrees
from spamgpt.gpt2.backends.shapes import with_recurring_rows


class LowProjection(nn.Module):
    """A projection in bfloat16 by plain torch."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.to(torch.bfloat16), requires_grad=False)
        self.bias = nn.Parameter(bias.to(torch.bfloat16), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs) -> (n, outputs)."""
        return torch.addmm(self.bias, x.to(self.weight.dtype), self.weight)


class FusedProjection(nn.Module):
    """A projection, with the activation after it if there is one, as one operation.

    It is in bfloat16 or float32.

    oneDNN has the weights in the layout that suits the processor, and applies the activation while
    the product is still in its cache; both as torch's own compiler would have it.
    """

    def __init__(
        self, weight: Tensor, bias: Tensor, activated: bool, dtype: torch.dtype = torch.bfloat16
    ) -> None:
        super().__init__()
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight.to(dtype).t())
        self._bias = bias.to(dtype)
        self._activation = "gelu" if activated else "none"
        # Both forms of GELU differ less than bfloat16 rounds, and this one is the faster.
        self._form = "none" if dtype == torch.bfloat16 else "tanh"

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs) -> (n, outputs)."""
        return self.product(self.rows(x))[: len(x)]

    def rows(self, x: Tensor) -> Tensor:
        """(n, inputs) -> the same in its precision, and rows that are not read behind."""
        return with_recurring_rows(x, self._bias.dtype)

    def product(self, rows: Tensor) -> Tensor:
        """The same for rows of its precision, in one operation of oneDNN's."""
        return torch.ops.mkldnn._linear_pointwise.default(
            rows, self._weight, self._bias, self._activation, [], self._form
        )


class FusedMLP(nn.Module):
    """An MLP of projections for prediction: what is between the two needs no other layout."""

    def __init__(self, c_fc: FusedProjection, c_proj: nn.Module) -> None:
        """`c_fc` has the activation in it."""
        super().__init__()
        self.c_fc, self.c_proj = c_fc, c_proj

    def forward(self, x: Tensor, packed: object = None, one_each: bool = False) -> Tensor:
        """(n, n_embd) -> (n, n_embd); takes what the model's own takes."""
        projected: Tensor = self.c_proj(self.c_fc.product(self.c_fc.rows(x)))
        return projected[: len(x)]


@cache
def fused_projections_work(dtype: torch.dtype = torch.bfloat16) -> bool:
    """Whether this processor computes a FusedProjection, and rightly; tried once in a process."""

    def fused(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        if dtype == torch.bfloat16 and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
            raise NotImplementedError
        return FusedProjection(weight, bias, True, dtype)(x)

    return agrees(fused, _activated, tolerance=0.05 if dtype == torch.bfloat16 else 1e-4)


@cache
@torch.no_grad()
def fused_projections_pay() -> bool:
    """Whether a FusedProjection in float32 works and is faster than plain torch; measured once.

    Both have a library for matrix products: which is faster depends on the processor, and by half
    or more. It takes some hundredths of a second.
    """
    if not fused_projections_work(torch.float32):
        return False
    x, weight, bias = torch.ones(256, 768), torch.ones(768, 1024), torch.ones(1024)
    fused = FusedProjection(weight, bias, True, torch.float32)

    def seconds(compute: Callable[[], Tensor]) -> float:
        began = time.perf_counter()
        compute()
        return time.perf_counter() - began

    # The first of each is slower; and what disturbs a machine disturbs both.
    taken = [
        (seconds(lambda: fused(x)), seconds(lambda: _activated(x, weight, bias))) for _ in range(4)
    ]
    of_fused, of_plain = (min(each[1:]) for each in zip(*taken, strict=True))
    return of_fused < of_plain


def _activated(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return F.gelu(torch.addmm(bias, x, weight), approximate="tanh")


class QuantizedProjection(nn.Module):
    """A projection whose matrix product is in 8-bit integers; what comes out is bfloat16.

    Weights have a scale for each output and inputs one for each token, both symmetric (Dettmers et
    al. 2022, LLM.int8(), section 2.1). The product is oneDNN's, as torch's own quantisation calls
    it on processors: it takes unsigned inputs, so theirs are moved up by 128.
    """

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        weight = weight.float()
        self._scales = (weight.abs().amax(0) / 127).clamp(min=1e-12)
        rounded = (weight / self._scales).round().to(torch.int8)
        self._packed = torch.ops.onednn.qlinear_prepack(rounded.t().contiguous(), None)
        self._zeros = torch.zeros(len(bias), dtype=torch.int32)
        self._bias = bias.to(torch.bfloat16)
        self._middle = torch.tensor(128.5)

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs) -> (n, outputs)."""
        x = x.float()
        largest = torch.maximum(x.amax(1, keepdim=True), -x.amin(1, keepdim=True))
        scale = 127 / largest.clamp_(min=1e-6)
        # What is behind the point is cut off.
        rounded = torch.addcmul(self._middle, x, scale).to(torch.uint8)
        product = self.product(with_recurring_rows(rounded))[: len(x)]
        return torch.addcmul(self._bias, product, scale.reciprocal().to(product.dtype))

    def product(self, rounded: Tensor) -> Tensor:
        """(n, inputs) unsigned, moved up by 128 -> (n, outputs) without the tokens' scales."""
        return torch.ops.onednn.qlinear_pointwise(
            *(rounded, 1.0, 128, self._packed, self._scales, self._zeros),
            *(None, 1.0, 0, torch.bfloat16, "none", [], ""),
        )


@cache
def quantized_projections_work() -> bool:
    """Whether a QuantizedProjection is computed here, and rightly; tried once in a process."""

    def quantized(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return QuantizedProjection(weight, bias)(x)

    def expected(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return torch.addmm(bias, x, weight)

    return agrees(quantized, expected, tolerance=0.1)
