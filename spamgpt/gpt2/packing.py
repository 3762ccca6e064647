"""Messages laid end to end, without padding: the one input format of the model."""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, chain, groupby
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

# Padding a message to so many tokens costs less than taking it apart from longer ones.
_SHORT = 31


@dataclass(frozen=True)
class PackedTokens:
    """Token ids of several messages in one flat row.

    `token_ids` is (tokens,); `offsets` is (messages + 1,): message i holds the tokens from
    `offsets[i]` up to `offsets[i + 1]`. No message is empty. `own_lengths`, (messages,), is how
    many of these are its own where padding stands behind them; None: all of them. All are int64.
    """

    token_ids: Tensor
    offsets: Tensor
    own_lengths: Tensor | None = None

    def __len__(self) -> int:
        """The number of messages."""
        return len(self.offsets) - 1

    def to(self, device: torch.device) -> "PackedTokens":
        """The same on a device."""
        own = None if self.own_lengths is None else self.own_lengths.to(device)
        return PackedTokens(self.token_ids.to(device), self.offsets.to(device), own)

    @cached_property
    def lengths(self) -> Tensor:
        """(messages,) tokens of each message."""
        return self.offsets.diff()

    @cached_property
    def longest(self) -> int:
        """The number of tokens of the longest message."""
        return int(self.lengths.max())

    @cached_property
    def last(self) -> Tensor:
        """(messages,) where in the flat row each message's last token stands, padding or not."""
        return self.offsets[1:] - 1

    @cached_property
    def last_own(self) -> Tensor:
        """(messages,) where in the flat row the last of each message's own tokens stands."""
        return self.last if self.own_lengths is None else self.first + self.own_lengths - 1

    @cached_property
    def first(self) -> Tensor:
        """(messages,) where in the flat row each message's first token stands."""
        return self.offsets[:-1]

    @cached_property
    def parts(self) -> "list[PackedTokens]":
        """The same in order, messages of similar length together: attention pads to the longest.

        Only messages that are in the order of their lengths are taken apart.
        """
        lengths = self.lengths.tolist()
        if _similar(lengths[0]) == _similar(lengths[-1]) or lengths != sorted(lengths):
            return [self]
        offsets, parts, start = self.offsets.tolist(), [], 0
        for _, alike in groupby(lengths, _similar):
            end = start + len(list(alike))
            tokens = self.token_ids[offsets[start] : offsets[end]]
            own = None if self.own_lengths is None else self.own_lengths[start:end]
            part = PackedTokens(tokens, self.offsets[start : end + 1] - offsets[start], own)
            parts.append(part)
            start = end
        return parts

    def by_part(self, values: Tensor) -> "Iterator[tuple[PackedTokens, Tensor, slice]]":
        """Each of the parts, its rows of values, (tokens, channels), and which messages it has."""
        sizes = [part.token_ids.shape[0] for part in self.parts]
        start = 0
        for part, rows in zip(self.parts, values.split(sizes), strict=True):
            yield part, rows, slice(start, start + len(part))
            start += len(part)

    def first_tokens(self) -> "PackedTokens":
        """The first token of each message as a message of its own."""
        offsets = torch.arange(len(self.offsets), device=self.offsets.device)
        return PackedTokens(self.token_ids[self.first], offsets)

    @cached_property
    def draws(self) -> list[int]:
        """For each message the seed of what is drawn for it at random.

        It comes from torch's random state, when it is first asked for, and the message alone.
        """
        drawn = int(torch.randint(2**31, ()))
        messages = self.token_ids.cpu().split(self.lengths.tolist())
        return [zlib.crc32(message.numpy().tobytes(), drawn) for message in messages]

    @cached_property
    def message(self) -> Tensor:
        """(tokens,) the message that each token belongs to."""
        return torch.repeat_interleave(
            torch.arange(len(self), device=self.offsets.device), self.lengths
        )

    @cached_property
    def position(self) -> Tensor:
        """(tokens,) the place of each token in its own message, from 0."""
        tokens = torch.arange(len(self.token_ids), device=self.token_ids.device)
        return tokens - self.offsets[self.message]

    def sums(self, values: Tensor) -> Tensor:
        """(tokens, channels) -> (messages, channels): the sum over the tokens of each message."""
        if values.device.type == "cpu":
            zeros = values.new_zeros(len(self), values.shape[1])
            return zeros.index_add(0, self.message, values)
        # A GPU would add in any order, and the last bits would differ from run to run.
        return torch.cat([part.pad(rows).sum(1) for part, rows, _ in self.by_part(values)])

    def pad(self, values: Tensor, recurring: bool = False) -> Tensor:
        """(tokens, channels) -> (messages, longest, channels), zeros after each message's end.

        With `recurring` there are also messages of zeros at the end and more zeros after each, so
        that the shape is one of few.
        """
        messages, longest = len(self), self.longest
        if recurring:
            messages, longest = _recurring(messages), _recurring(longest)
        padded = values.new_zeros(messages * longest, values.shape[1])
        padded.index_copy_(0, self._places(longest), values)
        return padded.unflatten(0, (messages, longest))

    def unpad(self, padded: Tensor) -> Tensor:
        """(messages, longest, channels) -> (tokens, channels), the inverse of `pad`."""
        rows, places = padded.flatten(0, 1), self._places(padded.shape[1])
        if rows.device.type != "cpu" or not (torch.is_grad_enabled() and rows.requires_grad):
            return rows.index_select(0, places)
        taken: Tensor = _Taken.apply(rows, places)  # type: ignore[no-untyped-call]
        return taken

    def to_heads(self, projected: Tensor, n_head: int, recurring: bool = False) -> Tensor:
        """(tokens, 3 n_embd) -> (3, messages, n_head, longest, width), width being n_embd / n_head.

        The same as by `pad`, but in one gather, whose gradient would be slow; and what stands after
        each message's end is another token. `recurring` as for `pad`.
        """
        messages, longest = len(self), self.longest
        if recurring:
            messages, longest = _recurring(messages), _recurring(longest)
        index = self._gathers.get(("to", n_head, recurring))
        if index is None:
            tokens, device = len(self.token_ids), projected.device
            token = torch.zeros(messages * longest, dtype=torch.int64, device=device)
            token[self._places(longest)] = torch.arange(tokens, device=device)
            part = torch.arange(3 * n_head, device=device).view(3, 1, n_head, 1)
            index = token.view(messages, 1, longest) * (3 * n_head) + part
            index = self._gathers["to", n_head, recurring] = index.flatten()
        gathered = projected.reshape(-1, projected.shape[1] // (3 * n_head)).index_select(0, index)
        return gathered.view(3, messages, n_head, longest, -1)

    def from_heads(self, attended: Tensor) -> Tensor:
        """(messages, n_head, longest, width) -> (tokens, n_embd)."""
        _, n_head, longest, width = attended.shape
        index = self._gathers.get(("from", n_head, longest))
        if index is None:
            head = torch.arange(n_head, device=attended.device)
            index = (self.message[:, None] * n_head + head) * longest + self.position[:, None]
            index = self._gathers["from", n_head, longest] = index.flatten()
        return attended.reshape(-1, width).index_select(0, index).view(-1, n_head * width)

    @cached_property
    def _gathers(self) -> dict[tuple[str, int, int], Tensor]:
        """The indices of `to_heads` and `from_heads`, which are the same in every block."""
        return {}

    def _places(self, longest: int) -> Tensor:
        """(tokens,) where each token stands if every message takes so many rows."""
        return self.message * longest + self.position


class _Taken(torch.autograd.Function):
    """Some rows, none of them twice: (n, channels), (taken,) -> (taken, channels).

    torch, which cannot know that of `index_select`, sorts the places and adds up the gradients of
    every number on its own.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor, places: Tensor) -> Tensor:
        ctx.save_for_backward(places)
        ctx.count = len(rows)
        return rows.index_select(0, places)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (places,) = ctx.saved_tensors
        return grad.new_zeros(ctx.count, grad.shape[1]).index_copy_(0, places, grad), None


def _similar(length: int) -> int:
    """Equal for lengths of which none is more than twice another, and for all short ones."""
    return max(_SHORT, length).bit_length()


def _recurring(size: int) -> int:
    """The next number with at most two significant bits: less than a half larger."""
    step = 1 << max(0, size.bit_length() - 2)
    return -(-size // step) * step


def pack(
    messages: Sequence[Sequence[int]], own_lengths: Sequence[int] | None = None
) -> PackedTokens:
    """Lays the token ids of messages end to end; raises ValueError if there is an empty one.

    `own_lengths` is how many of each message's tokens are no padding (`PackedTokens`).
    """
    if not messages or not all(messages):
        raise ValueError("there must be messages, and each must have at least one token")
    return PackedTokens(
        torch.tensor(list(chain.from_iterable(messages)), dtype=torch.int64),
        torch.tensor([0, *accumulate(map(len, messages))], dtype=torch.int64),
        None if own_lengths is None else torch.tensor(own_lengths, dtype=torch.int64),
    )
