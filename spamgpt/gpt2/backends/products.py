"""The matrix product of a projection, by the library that is fastest for its shape."""

from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from spamgpt.gpt2.backends.selfcheck import agrees
from spamgpt.gpt2.backends.shapes import with_recurring_rows

# Up to so many rows, reading the weight takes longer than computing with it.
_THIN = 32


def linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """x weight + bias: (n, inputs), (inputs, outputs), (outputs,) -> (n, outputs).

    In training, oneDNN computes a product of few rows in float32 on the CPU: it reads the weight up
    to twice as fast as the library that torch calls by itself. Under autocast on the CPU the
    product and its gradients have shapes that recur.
    """
    if x.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
        low: Tensor = _LowProduct.apply(  # type: ignore[no-untyped-call]
            x, weight, bias, torch.get_autocast_dtype("cpu")
        )
        return low
    thin = (
        torch.is_grad_enabled()
        and len(x) <= _THIN
        and (x.device.type, x.dtype) == ("cpu", torch.float32)
        and torch.backends.mkldnn.is_available()
    )
    if thin and thin_products_work():
        product: Tensor = _ThinProduct.apply(x, weight, bias)  # type: ignore[no-untyped-call]
        return product
    return torch.addmm(bias, x, weight)


@cache
def thin_products_work() -> bool:
    """Whether oneDNN's product in float32 is there and right; tried once in a process."""
    return agrees(lambda x, weight, bias: _product(x, weight.t(), bias), _plain, tolerance=1e-4)


def _plain(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return torch.addmm(bias, x, weight)


class _ThinProduct(torch.autograd.Function):
    """x weight + bias and its gradients, all three by oneDNN."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _product(x, weight.t(), bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        of_x, of_weight, of_bias = ctx.needs_input_grad
        return (
            _product(grad, weight) if of_x else None,
            _product(x.t(), grad.t()) if of_weight else None,
            grad.sum(0) if of_bias else None,
        )


class _LowProduct(torch.autograd.Function):
    """x weight + bias and its gradients, computed and given in a lower precision."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, dtype: torch.dtype) -> Tensor:
        rows, low = with_recurring_rows(x, dtype), weight.to(dtype)
        ctx.save_for_backward(rows, low)
        ctx.dtypes = x.dtype, weight.dtype, bias.dtype
        return torch.addmm(bias.to(dtype), rows, low)[: len(x)]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        rows, low = ctx.saved_tensors
        of_x, of_weight, of_bias, _ = ctx.needs_input_grad
        x_dtype, weight_dtype, bias_dtype = ctx.dtypes
        grads = with_recurring_rows(grad)
        return (
            (grads @ low.t())[: len(grad)].to(x_dtype) if of_x else None,
            (rows.t() @ grads).to(weight_dtype) if of_weight else None,
            grad.sum(0).to(bias_dtype) if of_bias else None,
            None,
        )


def _product(a: Tensor, b: Tensor, bias: Tensor | None = None) -> Tensor:
    """(n, k), (m, k) -> a b^T + bias, (n, m)."""
    product: Tensor = torch.ops.mkldnn._linear_pointwise(a, b, bias, "none", [], "")
    return product
