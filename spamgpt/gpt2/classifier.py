"""The head swap: GPT-2's vocabulary-wide output layer gives way to one output a label."""

from typing import get_args

import torch
from torch import Tensor, nn

from spamgpt.gpt2.model import GPT2
from spamgpt.gpt2.packing import PackedTokens
from spamgpt.gpt2.pooling import Pooling


class GPT2Classifier(nn.Module):
    """A GPT-2 with a linear head that reads what `pooling` says of each message.

    `labels` is at least 2. The head starts as `torch.nn.Linear` does right after
    `torch.manual_seed(seed)`; the caller's random state is left as it was. Raises ValueError for
    fewer labels or an unknown pooling.
    """

    def __init__(self, gpt2: GPT2, labels: int, seed: int = 123, pooling: Pooling = "last") -> None:
        super().__init__()
        if labels < 2:
            raise ValueError(f"a classifier needs at least 2 labels, not {labels}")
        if pooling not in get_args(Pooling):
            raise ValueError(f"pooling {pooling!r} is none of {', '.join(get_args(Pooling))}")
        self.gpt2 = gpt2
        self.pooling = pooling
        with torch.random.fork_rng(devices=[]):
            # torch.manual_seed would seed the GPU's generator as well, which is not restored.
            torch.default_generator.manual_seed(seed)
            self.head = nn.Linear(gpt2.config.n_embd, labels)

    def forward(self, packed: PackedTokens, depth: int = 0, trunk: Tensor | None = None) -> Tensor:
        """(messages, labels): the logits of each message.

        With `trunk`, the output of the first `depth` blocks, only the others are run.
        """
        return self.head(self.pooled(packed, depth, trunk))

    def pooled(self, packed: PackedTokens, depth: int = 0, trunk: Tensor | None = None) -> Tensor:
        """(messages, n_embd): what the head reads. The one place that knows the poolings.

        Arguments as those of `forward`.
        """
        return self.gpt2.last_hidden_states(packed, depth, trunk)
