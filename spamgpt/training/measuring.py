"""The logits of many messages while a model is trained, by all processes that train it."""

from collections.abc import Callable

import torch
from torch import Tensor

from spamgpt.classifier.inference import TrunkOutput, logits_of, predict_logits
from spamgpt.data.batches import TokenizedMessages, batches_by_length, tokens_per_batch
from spamgpt.gpt2.classifier import GPT2Classifier
from spamgpt.training import distributed


@torch.no_grad()
def logits_together(
    model: GPT2Classifier,
    messages: TokenizedMessages,
    device: torch.device,
    after_batch: Callable[[int], None] = lambda messages: None,
    trunk: TrunkOutput | None = None,
) -> Tensor:
    """(messages, labels): what `predict_logits` gives, in every process; all have to call it.

    The batches are those of one process, dealt out, so that the answers are the same.
    `after_batch` is called with the number of messages of each round.
    """
    rank, size = distributed.rank(), distributed.size()
    if size == 1:
        return predict_logits(model, messages, device, after_batch, trunk)
    most = distributed.from_main(lambda: tokens_per_batch(device, model.gpt2.config.n_embd))
    batches = list(batches_by_length(messages, most))
    logits = torch.zeros(len(messages), model.head.out_features)
    for start in range(0, len(batches), size):
        dealt = batches[start : start + size]
        # Where the model is sharded, who has nothing left still brings its part of the weights.
        mine = dealt[rank] if rank < len(dealt) else dealt[0][:1]
        found = logits_of(model, messages, mine, device, trunk)
        if rank < len(dealt):
            logits[mine] = found.float().cpu()
        after_batch(sum(map(len, dealt)))
    distributed.add_up(logits)
    return logits
