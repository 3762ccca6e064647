"""Attention over padded messages, as it suits the processor that computes it."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from spamgpt.gpt2.backends.shapes import compiled_by_shape

# The most numbers of bfloat16 in a vector.
_VECTOR = 32
# The tokens of a message up to which products in float32 are faster than torch's fused kernel.
_SHORT = 64


def causal_attention(
    query: Tensor, key: Tensor, value: Tensor, kept: Tensor | None = None
) -> Tensor:
    """softmax(query key^T / sqrt(width)) value, where a token sees itself and those before it.

    All four are (messages, n_head, longest, width), width being n_embd / n_head. The softmax is
    multiplied with `kept`, (messages, n_head, longest, longest), if that is given: for dropout.
    """
    if kept is None and not _better_by_products(query):
        return F.scaled_dot_product_attention(query, key, value, is_causal=True)
    longest = query.shape[2]
    hidden = query.new_full((longest, longest), -math.inf).triu(1)
    return _by_products(query, key, value, hidden, kept)


def full_attention(
    query: Tensor, key: Tensor, value: Tensor, lengths: Tensor, kept: Tensor | None = None
) -> Tensor:
    """softmax(query key^T / sqrt(width)) value, where a token sees all of its message.

    Shapes and `kept` as for `causal_attention`; `lengths`, (up to messages,), is how many tokens a
    message has. What stands behind them is not seen; messages beyond those are not looked at.
    """
    messages, n_head, longest, _ = query.shape
    # A message that sees nothing at all would be NaN.
    lengths = F.pad(lengths, (0, messages - len(lengths)), value=longest)
    behind = torch.arange(longest, device=lengths.device) >= lengths[:, None]
    hidden = query.new_zeros(messages, 1, 1, longest)
    hidden.masked_fill_(behind[:, None, None], -math.inf)
    if kept is None and not _better_by_products(query):
        return F.scaled_dot_product_attention(query, key, value, attn_mask=hidden)
    hidden = hidden.repeat_interleave(n_head, 0).flatten(0, 1)
    return _by_products(query, key, value, hidden, kept)


def _better_by_products(query: Tensor) -> bool:
    """Whether torch's fused kernel is slower: it is on the CPU, in bfloat16 two to ten times.

    In training in float32, where its gradients are faster, and of long messages it is not.
    """
    short = query.shape[2] <= _SHORT and not torch.is_grad_enabled()
    return compiled_by_shape(query) or (short and query.device.type == "cpu")


def _by_products(
    query: Tensor, key: Tensor, value: Tensor, hidden: Tensor, kept: Tensor | None
) -> Tensor:
    messages, _, _, width = query.shape
    if kept is None and torch.is_grad_enabled():
        flat = (each.flatten(0, 1) for each in (query, key, value))
        attended: Tensor = _AttentionByProducts.apply(*flat, hidden)  # type: ignore[no-untyped-call]
        return attended.unflatten(0, (messages, -1))
    scores = torch.baddbmm(
        hidden, query.flatten(0, 1), key.flatten(0, 1).transpose(1, 2), alpha=width**-0.5
    )
    # A softmax in bfloat16 is slow where a row is no multiple of the processor's vectors.
    odd = compiled_by_shape(scores) and scores.shape[2] % _VECTOR
    weights = scores.softmax(2, dtype=torch.float32).to(scores.dtype) if odd else scores.softmax(2)
    if kept is not None:
        weights = weights * kept.flatten(0, 1)
    return (weights @ value.flatten(0, 1)).unflatten(0, (messages, -1))


class _AttentionByProducts(torch.autograd.Function):
    """softmax(query key^T / sqrt(width) + hidden) value and its gradients.

    All in the precision of the query, though sums are wider: under autocast, torch would make a
    float32 copy of the scores, and more copies of them for the gradients. All three are
    (messages * n_head, longest, width).
    """

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, hidden: Tensor) -> Tensor:
        ctx.scale = query.shape[2] ** -0.5
        with torch.autocast(query.device.type, enabled=False):
            scores = torch.baddbmm(hidden, query, key.transpose(1, 2), alpha=ctx.scale)
            weights = scores.softmax(2)
            ctx.save_for_backward(query, key, value, weights)
            return weights @ value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, weights = ctx.saved_tensors
        grad = grad.contiguous()
        of_weights = grad @ value.transpose(1, 2)
        of_scores = torch._softmax_backward_data(of_weights, weights, 2, weights.dtype)
        of_scores *= ctx.scale
        of_query, of_key = of_scores @ key, of_scores.transpose(1, 2) @ query
        return of_query, of_key, weights.transpose(1, 2) @ grad, None
