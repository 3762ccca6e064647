"""GPT-2 itself (Radford et al. 2019), in the order in which the data meets its parts.

Modules and parameters bear the names of the published weight files, and projections keep their
(in, out) layout, so that a memory-mapped file serves as the parameters without a copy. There is no
dropout: the classification recipe trains without it. There is no vocabulary-wide output layer
either, since a classifier never reads it.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from spamgpt.gpt2.config import GPT2Config
from spamgpt.gpt2.packing import PackedTokens


class Projection(nn.Module):
    """A linear layer whose weight is stored as (in, out), the layout of GPT-2's files."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(inputs, outputs))
        self.bias = nn.Parameter(torch.empty(outputs))

    @property
    def dtype(self) -> torch.dtype:
        """What goes in and comes out."""
        return self.weight.dtype

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs) -> (n, outputs)."""
        if _ThinProduct.suits(x):
            thin: Tensor = _ThinProduct.apply(x, self.weight, self.bias)  # type: ignore[no-untyped-call]
            return thin
        return torch.addmm(self.bias, x, self.weight)


class _ThinProduct(torch.autograd.Function):
    """x weight + bias for few rows, as in a step of training, where reading weight takes longest.

    oneDNN reads it up to twice as fast as the library that torch calls by itself.
    """

    @staticmethod
    def suits(x: Tensor) -> bool:
        return (
            torch.is_grad_enabled()
            and len(x) <= 32
            and (x.device.type, x.dtype) == ("cpu", torch.float32)
            and torch.backends.mkldnn.is_available()
        )

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


def _product(a: Tensor, b: Tensor, bias: Tensor | None = None) -> Tensor:
    """(n, k), (m, k) -> a b^T + bias, (n, m)."""
    product: Tensor = torch.ops.mkldnn._linear_pointwise(a, b, bias, "none", [], "")
    return product


def compiled_by_shape(x: Tensor) -> bool:
    """Whether products with x are compiled for each new shape, which costs time and is kept.

    oneDNN does so for bfloat16 on processors and keeps half a megabyte for each. Packed messages
    hardly ever have the same shape twice; rounded up, shapes recur.
    """
    return x.dtype == torch.bfloat16 and x.device.type == "cpu"


def causal_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """softmax(query key^T / sqrt(width)) value, each token seeing none behind itself.

    All four are (messages, heads, longest, width).
    """
    if not compiled_by_shape(query):
        return F.scaled_dot_product_attention(query, key, value, is_causal=True)
    # torch's fused kernel takes two to ten times as long as this in bfloat16 on processors.
    messages, _, longest, width = query.shape
    hidden = query.new_full((longest, longest), -math.inf).triu(1)
    scores = torch.baddbmm(
        hidden, query.flatten(0, 1), key.flatten(0, 1).transpose(1, 2), alpha=width**-0.5
    )
    return (scores.softmax(2) @ value.flatten(0, 1)).unflatten(0, (messages, -1))


class Attention(nn.Module):
    """Causal self-attention: each token looks at its own message, up to itself."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        self.n_head = config.n_head
        self.n_embd = config.n_embd
        self.c_attn = Projection(config.n_embd, 3 * config.n_embd)
        self.c_proj = Projection(config.n_embd, config.n_embd)

    def forward(self, x: Tensor, packed: PackedTokens) -> Tensor:
        """(tokens, n_embd) -> (tokens, n_embd)."""
        projected = self.c_attn(x)
        # The padding stands behind each message, where causality keeps its tokens from seeing it.
        padded = packed.pad(projected, recurring=compiled_by_shape(projected))
        query, key, value = (
            part.unflatten(2, (self.n_head, -1)).transpose(1, 2) for part in padded.chunk(3, dim=2)
        )
        attended = causal_attention(query, key, value)
        return self.c_proj(packed.unpad(attended.transpose(1, 2).flatten(2)))

    def last_only(self, x: Tensor, packed: PackedTokens) -> Tensor:
        """(tokens, n_embd) -> (messages, n_embd): what `forward` gives at each last token.

        No token has its key and value computed. A query meets x W_k just as the query times W_k^T
        meets x, and the weighted sum of x W_v is that of x, times W_v; a key's bias would add the
        same to all of a message's scores, which softmax takes out again. So every weight is used
        once a message, however long.
        """
        query_weight, key_weight, value_weight = self.c_attn.weight.split(self.n_embd, dim=1)
        query_bias, _, value_bias = self.c_attn.bias.split(self.n_embd)
        query = self._by_head(torch.addmm(query_bias, x[packed.last], query_weight))
        query = query @ self._by_head(key_weight).transpose(1, 2)  # (n_head, messages, n_embd)
        padded = packed.pad(x)
        scores = query.transpose(0, 1) @ padded.transpose(1, 2)  # (messages, n_head, longest)
        scores = scores * (self.n_embd / self.n_head) ** -0.5
        position = torch.arange(packed.longest, device=x.device)
        padding = position >= packed.lengths[:, None, None]
        weights = scores.masked_fill(padding, -math.inf).softmax(2)
        seen = (weights @ padded).transpose(0, 1)  # (n_head, messages, n_embd)
        attended = seen @ self._by_head(value_weight)
        return self.c_proj(attended.transpose(0, 1).flatten(1) + value_bias)

    def _by_head(self, x: Tensor) -> Tensor:
        # (n, n_embd) -> (n_head, n, n_embd / n_head)
        return x.unflatten(1, (self.n_head, -1)).transpose(0, 1)


class MLP(nn.Module):
    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        self.c_fc = Projection(config.n_embd, 4 * config.n_embd)
        self.act = nn.GELU(approximate="tanh")
        self.c_proj = Projection(4 * config.n_embd, config.n_embd)

    def forward(self, x: Tensor) -> Tensor:
        return self.c_proj(self.act(self.c_fc(x)))


class Block(nn.Module):
    """Attention and MLP, each behind a layer norm and added to what came in (pre-norm)."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.attn = Attention(config)
        self.ln_2 = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.mlp = MLP(config)

    def forward(self, x: Tensor, packed: PackedTokens) -> Tensor:
        """(tokens, n_embd) -> (tokens, n_embd)."""
        x = x + self.attn(self._normed(self.ln_1, x), packed)
        return x + self.mlp(self._normed(self.ln_2, x))

    def last_only(self, x: Tensor, packed: PackedTokens) -> Tensor:
        """(tokens, n_embd) -> (messages, n_embd): what `forward` gives at each last token."""
        last = x[packed.last] + self.attn.last_only(self._normed(self.ln_1, x), packed)
        return last + self.mlp(self._normed(self.ln_2, last))

    def _normed(self, norm: nn.LayerNorm, x: Tensor) -> Tensor:
        # The projections may be in a lower precision than the norms and the sums (`lowered`).
        return norm(x).to(self.mlp.c_fc.dtype)


def _embedding(rows: int, width: int) -> nn.Embedding:
    # Not drawn at random: weights are loaded, and on the meta device drawing imports a compiler.
    return nn.Embedding.from_pretrained(torch.empty(rows, width), freeze=False)


class GPT2(nn.Module):
    """Token and position embeddings, the blocks, and the final layer norm."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        self.config = config
        self.wte = _embedding(config.vocab_size, config.n_embd)
        self.wpe = _embedding(config.n_positions, config.n_embd)
        self.h = nn.ModuleList(Block(config) for _ in range(config.n_layer))
        self.ln_f = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)

    def embed(self, packed: PackedTokens) -> Tensor:
        """(tokens, n_embd): what the first block receives; positions count within each message."""
        return self.wte(packed.token_ids) + self.wpe(packed.position)

    def forward(self, packed: PackedTokens) -> Tensor:
        """(tokens, n_embd): the hidden states of all tokens, after the final layer norm."""
        x = self.embed(packed)
        for block in self.h:
            x = block(x, packed)
        return self.ln_f(x)

    def hidden_states_after(
        self, packed: PackedTokens, depth: int, start: int = 0, x: Tensor | None = None
    ) -> Tensor:
        """What the first `depth` blocks give, in float32 whatever their own precision.

        (tokens, n_embd), or (messages, n_embd), the last tokens alone, if these are all blocks.
        With `x`, the output of the first `start` blocks, only those after them are run.
        """
        x = self.embed(packed) if x is None else x
        for block in self.blocks(start, min(depth, self.config.n_layer - 1)):
            x = block(x, packed)
        return self.blocks(-1)[0].last_only(x, packed) if depth == self.config.n_layer else x

    def last_hidden_states(
        self, packed: PackedTokens, depth: int = 0, trunk: Tensor | None = None
    ) -> Tensor:
        """(messages, n_embd): `forward` at each message's last token, nothing computed besides.

        With `trunk`, the output of the first `depth` blocks, only the others are run.
        """
        if trunk is None or depth < self.config.n_layer:
            trunk = self.hidden_states_after(packed, self.config.n_layer, depth, trunk)
        return self.ln_f(trunk)

    def blocks(self, start: int, stop: int | None = None) -> list[Block]:
        return [block for block in self.h[start:stop] if isinstance(block, Block)]
