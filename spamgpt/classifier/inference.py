"""The logits of many messages: what training measures with and what a classifier answers from."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from spamgpt.data.batches import TokenizedMessages, batches_by_length, tokens_per_batch
from spamgpt.gpt2.classifier import GPT2Classifier

if TYPE_CHECKING:
    from spamgpt.training.trunk import Trunk


def logits_of(
    model: GPT2Classifier,
    messages: TokenizedMessages,
    batch: Sequence[int],
    device: torch.device,
    trunk: "Trunk | None" = None,
) -> Tensor:
    """(batch, labels): the logits of some messages, given by their indices.

    With `trunk`, what the frozen blocks give for them is read, not computed.
    """
    packed = messages.pack(batch).to(device)
    if trunk is None:
        logits: Tensor = model(packed)
    else:
        logits = model(packed, trunk.depth, trunk.rows(batch).to(device))
    return logits


@torch.inference_mode()
def classify(
    model: GPT2Classifier,
    messages: TokenizedMessages,
    device: torch.device,
    after_batch: Callable[[int], None] = lambda messages: None,
    trunk: "Trunk | None" = None,
) -> Tensor:
    """(messages, labels): the logits of each message, in order, as float32 on the CPU.

    `after_batch` is called with the number of messages of each batch that is done.
    """
    logits = torch.empty(len(messages), model.head.out_features)
    for batch in batches_by_length(messages, tokens_per_batch(device, model.gpt2.config.n_embd)):
        logits[batch] = logits_of(model, messages, batch, device, trunk).float().cpu()
        after_batch(len(batch))
    return logits
