"""The head swap: GPT-2's vocabulary-wide output layer gives way to one output a label."""

from typing import get_args

import torch
from torch import Tensor, nn

from spamgpt.gpt2.model import GPT2
from spamgpt.gpt2.ngrams import NGrams
from spamgpt.gpt2.packing import PackedTokens
from spamgpt.gpt2.pooling import MEANS, AttentionPattern, Pooling, sees_one_token


class GPT2Classifier(nn.Module):
    """A GPT-2 with a linear head that reads what `pooling` says of each message.

    `labels` is at least 2. What a token sees is set by `attention`, for the model given. The head
    starts as `torch.nn.Linear` does right after `torch.manual_seed(seed)`; the caller's random
    state is left as it was. Raises ValueError for fewer labels, an unknown pooling or attention.

    With `ngrams`, that linear model stands beside: its logits are added to those of the head.
    """

    def __init__(
        self,
        gpt2: GPT2,
        labels: int,
        seed: int = 123,
        pooling: Pooling = "last",
        attention: AttentionPattern = "causal",
    ) -> None:
        super().__init__()
        if labels < 2:
            raise ValueError(f"a classifier needs at least 2 labels, not {labels}")
        for name, value, known in (
            ("pooling", pooling, get_args(Pooling)),
            ("attention", attention, get_args(AttentionPattern)),
        ):
            if value not in known:
                raise ValueError(f"{name} {value!r} is none of {', '.join(known)}")
        self.gpt2 = gpt2
        self.gpt2.attention = attention
        self.pooling = pooling
        with torch.random.fork_rng(devices=[]):
            # torch.manual_seed would seed the GPU's generator as well, which is not restored.
            torch.default_generator.manual_seed(seed)
            self.head = nn.Linear(gpt2.config.n_embd, labels)
        self.ngrams: NGrams | None = None

    def forward(self, packed: PackedTokens, depth: int = 0, trunk: Tensor | None = None) -> Tensor:
        """(messages, labels): the logits of each message.

        With `trunk`, what `hidden_states_for` gave for the first `depth` blocks, only the others
        are run.
        """
        logits: Tensor = self.head(self.pooled(packed, depth, trunk))
        return logits if self.ngrams is None else self.ngrams.beside(logits, packed)

    def pooled(self, packed: PackedTokens, depth: int = 0, trunk: Tensor | None = None) -> Tensor:
        """(messages, n_embd): what the head reads. Arguments as those of `forward`."""
        n_layer = self.gpt2.config.n_layer
        if trunk is None or depth < n_layer:
            trunk = hidden_states_for(self.pooling, self.gpt2, packed, n_layer, depth, trunk)
        return trunk if self.pooling in MEANS else self.gpt2.ln_f(trunk)


def hidden_states_for(
    pooling: Pooling,
    gpt2: GPT2,
    packed: PackedTokens,
    depth: int,
    start: int = 0,
    hidden_states: Tensor | None = None,
) -> Tensor:
    """What a pooling needs of what the first `depth` blocks give. The one place that knows them.

    (tokens, n_embd), or (messages, n_embd) where `keeps_one_row`: after all blocks, the token that
    is read before the final layer norm, or the mean behind it. With `hidden_states`, what this gave
    for the first `start` blocks, only those after them are run.
    """
    if sees_one_token(pooling, gpt2.attention):
        packed = packed.first_tokens()
    if pooling not in MEANS:
        match pooling:
            case "last":
                places = packed.last_own
            case "first":
                places = packed.first
            case _:
                places = packed.last
        return gpt2.hidden_states_after(packed, depth, start, hidden_states, places)
    n_layer = gpt2.config.n_layer
    x = gpt2.hidden_states_after(packed, min(depth, n_layer - 1), start, hidden_states)
    if depth < n_layer:
        return x
    x = gpt2.ln_f(gpt2.blocks(-1)[0](x, packed))
    lengths = packed.lengths
    if pooling == "mean" and packed.own_lengths is not None:
        lengths = packed.own_lengths
        behind = packed.position >= lengths[packed.message]
        x = x.masked_fill(behind[:, None], 0)
    return packed.sums(x) / lengths[:, None]


def keeps_one_row(pooling: Pooling, gpt2: GPT2, depth: int) -> bool:
    """Whether `hidden_states_for` gives one row a message, and not one a token."""
    return depth == gpt2.config.n_layer or sees_one_token(pooling, gpt2.attention)
