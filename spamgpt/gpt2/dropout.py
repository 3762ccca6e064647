"""Dropout (Srivastava et al. 2014), in the places where GPT-2 has it; off unless set.

What of a message is dropped is drawn for the message alone (`PackedTokens.draws`), so that it does
not depend on which others it is computed with, nor on the process that computes it.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from spamgpt.gpt2.packing import PackedTokens


@dataclass(frozen=True)
class Dropout:
    """Drops a share, from 0 to below 1, in one of the places of a model, `site`."""

    share: float = 0.0
    site: int = 0

    def rows(self, x: Tensor, packed: PackedTokens, one_each: bool = False) -> Tensor:
        """(tokens, channels), or with `one_each` (messages, channels) -> the same, some dropped."""
        lengths = [1] * len(packed) if one_each else packed.lengths.tolist()
        shapes = zip(packed.draws, lengths, strict=True)
        return x * torch.cat([self.kept(draw, (rows, x.shape[1]), x) for draw, rows in shapes])

    def weights(
        self, shape: Sequence[int], draws: Sequence[int], lengths: Sequence[int], like: Tensor
    ) -> Tensor:
        """What attention weights of a shape are multiplied with: (messages, n_head, ..., longest).

        There may be one query a message or one a token; what stands behind a message is dropped.
        """
        kept = like.new_zeros(tuple(shape))
        for of_message, draw, length in zip(kept, draws, lengths, strict=False):
            if len(shape) == 4:
                of_message = of_message[:, :length]
            of_message[..., :length] = self.kept(draw, of_message[..., :length].shape, like)
        return kept

    def kept(self, draw: int, shape: Sequence[int], like: Tensor) -> Tensor:
        """0 for what is dropped of a message, 1 / (1 - share) for what is not; type of `like`."""
        seed = zlib.crc32(self.site.to_bytes(4, "big"), draw)
        generator = torch.Generator(like.device).manual_seed(seed)
        drawn = like.new_empty(tuple(shape)).bernoulli_(1 - self.share, generator=generator)
        return drawn.div_(1 - self.share)
