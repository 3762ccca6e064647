"""The logits of many messages: what training measures with and what a classifier answers from."""

from collections.abc import Callable

import torch
from torch import Tensor

from spamgpt.data.batches import TokenizedMessages, batches_by_length
from spamgpt.gpt2.classifier import GPT2Classifier


@torch.inference_mode()
def classify(
    model: GPT2Classifier,
    messages: TokenizedMessages,
    device: torch.device,
    after_batch: Callable[[int], None] = lambda messages: None,
) -> Tensor:
    """(messages, labels): the logits of each message, in order, as float32 on the CPU.

    `after_batch` is called with the number of messages of each batch that is done.
    """
    logits = torch.empty(len(messages), model.head.out_features)
    for batch in batches_by_length(messages):
        logits[batch] = model(messages.pack(batch).to(device)).float().cpu()
        after_batch(len(batch))
    return logits
