"""GPT-2 as a language model: the loss that pre-training minimises.

The output layer shares its weights with the token embedding (`wte`), as in the published models, so
it is nowhere stored.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from spamgpt.gpt2.model import GPT2
from spamgpt.gpt2.packing import PackedTokens


def next_token_losses(model: GPT2, packed: PackedTokens) -> Tensor:
    """(tokens - messages,): the cross-entropy, in nats, of each token given those before it.

    The first token of each message has none before it and is not predicted.
    """
    hidden_states = model(packed)
    predicts = torch.ones(len(packed.token_ids), dtype=torch.bool, device=hidden_states.device)
    predicts[packed.last] = False
    targets = packed.token_ids[1:][predicts[:-1]]
    logits = hidden_states[predicts] @ model.wte.weight.T
    return F.cross_entropy(logits.float(), targets, reduction="none")
