"""GPT-2 itself (Radford et al. 2019), in the order in which the data meets its parts.

Modules and parameters bear the names of the published weight files, and projections keep their
(in, out) layout, so that a memory-mapped file serves as the parameters without a copy. Dropout is
off unless `set_dropout` turns it on: the classification recipe trains without it. There is no
vocabulary-wide output layer, since a classifier never reads it.

A block uses its projections only through `Projection`'s two methods: a module that has both, such
as an adapter, can take the place of any of them.
"""

import math

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from spamgpt.gpt2.backends.attention import causal_attention, full_attention
from spamgpt.gpt2.backends.products import linear
from spamgpt.gpt2.backends.shapes import compiled_by_shape
from spamgpt.gpt2.config import GPT2Config
from spamgpt.gpt2.dropout import Dropout
from spamgpt.gpt2.packing import PackedTokens
from spamgpt.gpt2.pooling import AttentionPattern


class Projection(nn.Module):
    """A linear layer whose weight is stored as (inputs, outputs), the layout of GPT-2's files."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(inputs, outputs))
        self.bias = nn.Parameter(torch.empty(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs) -> (n, outputs)."""
        return linear(x, self.weight, self.bias)

    def effective_weights(self) -> tuple[Tensor, Tensor]:
        """The weight (inputs, outputs) and bias (outputs,) with which a call is x weight + bias.

        An adapter adds its own part: weight + A B, for example (Hu et al. 2022, LoRA).
        """
        return self.weight, self.bias


class Attention(nn.Module):
    """Self-attention: each token looks at its own message, up to itself or, if not causal, all."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        self.n_head = config.n_head
        self.n_embd = config.n_embd
        self.weight_dropout = self.output_dropout = Dropout()
        self.causal = True
        self.c_attn = Projection(config.n_embd, 3 * config.n_embd)
        self.c_proj = Projection(config.n_embd, config.n_embd)

    def forward(self, x: Tensor, packed: PackedTokens) -> Tensor:
        """(tokens, n_embd) -> (tokens, n_embd)."""
        # Those of the whole: a part of its own would draw others.
        draws = packed.draws if self._drops else []
        attended = [
            self._attended(rows, part, draws[own])
            for part, rows, own in packed.by_part(self.c_attn(x))
        ]
        joined = torch.cat(attended) if len(attended) > 1 else attended[0]
        projected: Tensor = self.c_proj(joined)
        return self.output_dropout.rows(projected, packed) if self._drops else projected

    def _attended(self, projected: Tensor, packed: PackedTokens, draws: list[int]) -> Tensor:
        """(tokens, 3 n_embd) -> (tokens, n_embd): from queries, keys and values."""
        # What fills up the rows stands behind each message, where causality keeps it unseen.
        recurring = compiled_by_shape(projected)
        if not (torch.is_grad_enabled() or self._drops):
            query, key, value = packed.to_heads(projected, self.n_head, recurring)
            return packed.from_heads(self._mixed(query, key, value, packed))
        padded = packed.pad(projected, recurring)
        query, key, value = (
            part.unflatten(2, (self.n_head, -1)).transpose(1, 2) for part in padded.chunk(3, dim=2)
        )
        kept = None
        if self._drops:
            shape = (*query.shape[:3], query.shape[2])
            lengths = packed.lengths.tolist()
            kept = self.weight_dropout.weights(shape, draws, lengths, query)
        attended = self._mixed(query, key, value, packed, kept)
        return packed.unpad(attended.transpose(1, 2).flatten(2))

    def _mixed(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        packed: PackedTokens,
        kept: Tensor | None = None,
    ) -> Tensor:
        # All (messages, n_head, longest, width); `kept` is for dropout.
        if self.causal:
            return causal_attention(query, key, value, kept)
        return full_attention(query, key, value, packed.lengths, kept)

    def one_only(self, x: Tensor, packed: PackedTokens, places: Tensor) -> Tensor:
        """(tokens, n_embd) -> (messages, n_embd): what `forward` gives at one token of each.

        `places`, (messages,), is where in the flat row it stands.

        No token has its key and value computed. A query meets x W_k just as the query times W_k^T
        meets x, and the weighted sum of x W_v is that of x, times W_v; a key's bias would add the
        same to all of a message's scores, which softmax takes out again. So every weight is used
        once a message, however long.
        """
        weight, bias = self.c_attn.effective_weights()
        query_weight, key_weight, value_weight = weight.split(self.n_embd, dim=1)
        query_bias, _, value_bias = bias.split(self.n_embd)
        query = self._by_head(torch.addmm(query_bias, x[places], query_weight))
        query = query @ self._by_head(key_weight).transpose(1, 2)  # (n_head, messages, n_embd)
        seen = places - packed.first + 1 if self.causal else packed.lengths
        draws = packed.draws if self._drops else []
        summed, kept = [], list[Tensor]()
        for part, rows, own in packed.by_part(x):
            padded = part.pad(rows)
            weights = self._weights(query[:, own], padded, part, seen[own], draws[own])
            summed.append(weights @ padded)
            if self._drops:
                kept.append(weights.sum(2, keepdim=True))
        attended = torch.cat(summed).transpose(0, 1) @ self._by_head(value_weight)
        if self._drops:  # what is left of the weights does not sum to 1
            value_bias = (torch.cat(kept) * value_bias.unflatten(0, (self.n_head, -1))).flatten(1)
        one: Tensor = self.c_proj(attended.transpose(0, 1).flatten(1) + value_bias)
        return self.output_dropout.rows(one, packed, one_each=True) if self._drops else one

    def _weights(
        self, query: Tensor, keys: Tensor, packed: PackedTokens, seen: Tensor, draws: list[int]
    ) -> Tensor:
        # (n_head, messages, n_embd), (messages, longest, n_embd) -> (messages, n_head, longest),
        # how much of each of the first `seen` tokens, (messages,), that of one_only takes.
        scores = query.transpose(0, 1) @ keys.transpose(1, 2)
        scores = scores * (self.n_embd / self.n_head) ** -0.5
        hidden = torch.arange(keys.shape[1], device=keys.device) >= seen[:, None, None]
        weights = scores.masked_fill(hidden, -math.inf).softmax(2)
        if not self._drops:
            return weights
        lengths = packed.lengths.tolist()
        return weights * self.weight_dropout.weights(weights.shape, draws, lengths, weights)

    @property
    def _drops(self) -> bool:
        return self.training and self.weight_dropout.share > 0

    def _by_head(self, x: Tensor) -> Tensor:
        # (n, n_embd) -> (n_head, n, n_embd / n_head)
        return x.unflatten(1, (self.n_head, -1)).transpose(0, 1)


class MLP(nn.Module):
    """Two projections with a GELU between them, each token for itself."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        self.c_fc = Projection(config.n_embd, 4 * config.n_embd)
        self.act = nn.GELU(approximate="tanh")
        self.c_proj = Projection(4 * config.n_embd, config.n_embd)
        self.dropout = Dropout()

    def forward(self, x: Tensor, packed: PackedTokens, one_each: bool = False) -> Tensor:
        """(tokens, n_embd) or, with `one_each`, (messages, n_embd) -> the same."""
        projected: Tensor = self.c_proj(self.act(self.c_fc(x)))
        if self.training and self.dropout.share:
            return self.dropout.rows(projected, packed, one_each)
        return projected


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
        # To add numbers of two types takes twice as long as to convert one and add.
        x = x + self.attn(self.ln_1(x), packed).to(x.dtype)
        return x + self.mlp(self.ln_2(x), packed).to(x.dtype)

    def one_only(self, x: Tensor, packed: PackedTokens, places: Tensor) -> Tensor:
        """(tokens, n_embd) -> (messages, n_embd): what `forward` gives at one token of each.

        `places` as for `Attention.one_only`.
        """
        one = x[places] + self.attn.one_only(self.ln_1(x), packed, places)
        return one + self.mlp(self.ln_2(one), packed, one_each=True)


def _embedding(rows: int, width: int) -> nn.Embedding:
    # Not drawn at random: weights are loaded, and on the meta device drawing imports a compiler.
    return nn.Embedding.from_pretrained(torch.empty(rows, width), freeze=False)


class GPT2(nn.Module):
    """Token and position embeddings, the blocks, and the final layer norm.

    With `checkpoint_activations`, training keeps of each block what went in and computes the block
    again for its gradients: less memory, a third more work (Chen et al. 2016, Training Deep Nets
    with Sublinear Memory Cost).
    """

    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        self.config = config
        self.wte = _embedding(config.vocab_size, config.n_embd)
        self.wpe = _embedding(config.n_positions, config.n_embd)
        self.h = nn.ModuleList(Block(config) for _ in range(config.n_layer))
        self.ln_f = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.dropout = Dropout()
        self.checkpoint_activations = False

    def embed(self, packed: PackedTokens) -> Tensor:
        """(tokens, n_embd): what the first block receives; positions count within each message."""
        embedded: Tensor = self.wte(packed.token_ids) + self.wpe(packed.position)
        if self.training and self.dropout.share:
            return self.dropout.rows(embedded, packed)
        return embedded

    def forward(self, packed: PackedTokens) -> Tensor:
        """(tokens, n_embd): the hidden states of all tokens, after the final layer norm."""
        x = self.embed(packed)
        for block in self.blocks(0):
            x = self._run(block, x, packed)
        return self.ln_f(x)

    def hidden_states_after(
        self,
        packed: PackedTokens,
        depth: int,
        start: int = 0,
        hidden_states: Tensor | None = None,
        places: Tensor | None = None,
    ) -> Tensor:
        """What the first `depth` blocks give: (tokens, n_embd), float32 also where they are not.

        After all blocks it is (messages, n_embd), one token of each message alone: the last, or the
        one at `places` (`Attention.one_only`). With `hidden_states`, the output of the first
        `start` blocks, only those after them are run.
        """
        x = self.embed(packed) if hidden_states is None else hidden_states
        for block in self.blocks(start, min(depth, self.config.n_layer - 1)):
            x = self._run(block, x, packed)
        if depth < self.config.n_layer:
            return x
        return self.blocks(-1)[0].one_only(x, packed, packed.last if places is None else places)

    def _run(self, block: Block, x: Tensor, packed: PackedTokens) -> Tensor:
        if self.checkpoint_activations and torch.is_grad_enabled():
            again: Tensor = checkpoint(block, x, packed, use_reentrant=False)
            return again
        return block(x, packed)

    def last_hidden_states(self, packed: PackedTokens) -> Tensor:
        """(messages, n_embd): `forward` at each message's last token, nothing computed besides."""
        return self.ln_f(self.hidden_states_after(packed, self.config.n_layer))

    def set_dropout(self, share: float, first_block: int = 0, embeddings: bool = True) -> None:
        """Lets the model in training mode drop a share, from 0 to below 1, at random.

        As transformers' `embd_pdrop`, `attn_pdrop` and `resid_pdrop`: of what the embeddings give,
        of the attention weights, and of what attention and MLP add to the residual stream. Blocks
        before `first_block`, and with `embeddings=False` the embeddings, drop nothing: those that
        are frozen give the same at every step.
        """
        self.dropout = Dropout(share if embeddings else 0.0)
        for number, block in enumerate(self.blocks(first_block), start=first_block):
            sites = [Dropout(share, 3 * number + place) for place in (1, 2, 3)]
            block.attn.weight_dropout, block.attn.output_dropout, block.mlp.dropout = sites

    @property
    def attention(self) -> AttentionPattern:
        """What a token sees of its message. A pretrained GPT-2 is causal until this is set."""
        return "causal" if self.blocks(0)[0].attn.causal else "full"

    @attention.setter
    def attention(self, pattern: AttentionPattern) -> None:
        for block in self.blocks(0):
            block.attn.causal = pattern == "causal"

    def blocks(self, start: int, stop: int | None = None) -> list[Block]:
        """The blocks from `start` up to `stop`, counted as in a slice."""
        return [block for block in self.h if isinstance(block, Block)][start:stop]
