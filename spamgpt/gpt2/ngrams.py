"""A linear model on n-grams beside GPT-2: short runs of a message's bytes, tokens and words.

It remembers spellings where GPT-2 reads on; the sum of both logits is right more often than either.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from spamgpt.gpt2.ngram_counts import ALL_BUCKETS, BUCKETS, KINDS, NGramCounter
from spamgpt.gpt2.packing import PackedTokens


class NGrams(nn.Module):
    """Logits of a message from the n-grams that a NGramCounter of `spellings` finds.

    A feature is 1 + log count times the n-gram's `idf`, (ALL_BUCKETS,); those of each kind (bytes,
    tokens, words) are scaled to norm 1. `weight` is (ALL_BUCKETS, labels - 1): the first label's
    logit is always 0.

    Of a script that GPT-2's vocabulary has few words of, GPT-2 reads single bytes, and is often
    sure and wrong where it was not trained on that language. `caution`, (1,), is how much less it
    counts there: 0 or, for a classifier that is to answer messages of languages unknown, up to 1.
    """

    def __init__(self, spellings: Sequence[bytes], labels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(ALL_BUCKETS, labels - 1))
        self.idf = nn.Parameter(torch.zeros(ALL_BUCKETS), requires_grad=False)
        self.bias = nn.Parameter(torch.zeros(labels - 1))
        self.caution = nn.Parameter(torch.zeros(1), requires_grad=False)
        self.counter = NGramCounter(spellings)

    def beside(self, logits: Tensor, packed: PackedTokens) -> Tensor:
        """(messages, labels): GPT-2's logits, with due caution, and those of the n-grams added."""
        if caution := self.caution.item():
            token_ids, message = packed.token_ids.cpu().numpy(), packed.message.cpu().numpy()
            trust = torch.from_numpy(self.counter.trust(token_ids, message, caution))
            logits = logits * trust.to(logits.device)[:, None]
        return logits + self(packed)

    def forward(self, packed: PackedTokens) -> Tensor:
        """(messages, labels): the logits of each message."""
        message, bucket, value = self.features(packed)
        weighted = value[:, None] * self.weight[bucket]
        logits = self.bias.repeat(len(packed), 1).index_add(0, message, weighted)
        return torch.cat([logits.new_zeros(len(packed), 1), logits], dim=1)

    def features(self, packed: PackedTokens) -> tuple[Tensor, Tensor, Tensor]:
        """All (n-grams,), sorted by message: whose feature it is, its bucket and its value."""
        message, bucket, count = self.counts(packed)
        values = (1 + count.log()) * self.idf[bucket]
        # One sum of squares for each kind of each message.
        group = KINDS * message + bucket // BUCKETS
        squares = values.new_zeros(KINDS * len(packed)).index_add(0, group, values**2)
        return message, bucket, values * squares.clamp_min(1e-12).rsqrt()[group]

    def counts(self, packed: PackedTokens) -> tuple[Tensor, Tensor, Tensor]:
        """What `Counts` has: whose n-gram each is, its bucket, and how often it is there."""
        token_ids, message = packed.token_ids.cpu().numpy(), packed.message.cpu().numpy()
        counts = self.counter.count(token_ids, message)
        device = packed.token_ids.device
        message_of, bucket, count = (
            torch.from_numpy(part).to(device)
            for part in (counts.message, counts.bucket, counts.count)
        )
        return message_of, bucket, count
