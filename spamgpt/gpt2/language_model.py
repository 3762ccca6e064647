"""GPT-2 as a language model: the loss that pre-training minimises.

The output layer shares its weights with the token embedding (`wte`), as in the published models, so
it is nowhere stored.
"""

from typing import Any

import torch
from torch import Tensor, nn

from spamgpt.gpt2.backends.shapes import with_recurring_rows
from spamgpt.gpt2.model import GPT2
from spamgpt.gpt2.packing import PackedTokens

# Tokens whose scores over the whole vocabulary exist at the same time.
_CHUNK = 512


def next_token_loss(
    model: GPT2, packed: PackedTokens, replicated: nn.Module | None = None
) -> Tensor:
    """(): the mean cross-entropy, in nats, of each token given those before it in its message.

    `replicated`, if it is given, is called in the place of the model that it wraps.
    The first token of each message has none before it and is not predicted. Under autocast the
    matrix products are in its lower precision, and so are the gradients that flow back.
    """
    hidden_states = (replicated or model)(packed)
    predicts = torch.ones(len(packed.token_ids), dtype=torch.bool, device=hidden_states.device)
    predicts[packed.last] = False
    targets = packed.token_ids[1:][predicts[:-1]]
    device = hidden_states.device.type
    dtype = hidden_states.dtype
    if torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
    loss: Tensor = _TiedOutputLoss.apply(  # type: ignore[no-untyped-call]
        hidden_states[predicts], model.wte.weight, targets, dtype
    )
    return loss


class _TiedOutputLoss(torch.autograd.Function):
    """Output layer and mean cross-entropy in one, a chunk of tokens at a time.

    The gradient of a softmax cross-entropy needs nothing that is not at hand when the loss is
    computed. Computing it there and then keeps the scores, at 8,192 tokens of vocabulary by far the
    largest tensor of a step, from being stored, filled with zeros and read again.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden_states: Tensor, embedding: Tensor, targets: Tensor, dtype: torch.dtype
    ) -> Tensor:
        """(tokens, n_embd), (vocab_size, n_embd), (tokens,) -> ()."""
        with torch.autocast(hidden_states.device.type, enabled=False):
            # The rows of zeros behind take part in the products and add nothing.
            low, matrix = with_recurring_rows(hidden_states, dtype), embedding.to(dtype)
            # In float32 or better, whose range no score of a model that has not diverged leaves.
            wide = torch.promote_types(hidden_states.dtype, torch.float32)
            loss = hidden_states.new_zeros((), dtype=wide)
            gradient = any(ctx.needs_input_grad)
            if gradient:
                to_hidden, to_embedding = torch.empty_like(low), torch.zeros_like(embedding)
            for start in range(0, len(low), _CHUNK):
                chunk = slice(start, start + _CHUNK)
                target = targets[chunk, None]
                probabilities = torch.softmax(low[chunk] @ matrix.T, 1, dtype=wide)
                loss -= probabilities[: len(target)].gather(1, target).log().sum()
                if gradient:
                    # The gradient with respect to the scores is softmax - one-hot.
                    one_hot = probabilities.new_ones(target.shape)
                    probabilities[: len(target)].scatter_add_(1, target, -one_hot)
                    to_scores = probabilities.to(dtype)
                    to_hidden[chunk] = to_scores @ matrix
                    to_embedding += to_scores.T @ low[chunk]
            if gradient:
                of_hidden = to_hidden[: len(targets)].to(hidden_states.dtype)
                ctx.save_for_backward(of_hidden, to_embedding)
            ctx.tokens = len(targets)
            return loss / len(targets)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None]:
        to_hidden, to_embedding = ctx.saved_tensors
        scale = gradient / ctx.tokens
        return to_hidden * scale, to_embedding * scale, None, None
