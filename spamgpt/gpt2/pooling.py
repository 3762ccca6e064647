"""How a classifier reads a message: what each token sees, and what of it the head is given."""

from typing import Literal

# last: the hidden state of its last token; first: of its first; mean: the mean over its tokens.
# These are the message's own tokens; last-position and mean-positions count the padding in.
Pooling = Literal["last", "first", "mean", "last-position", "mean-positions"]
MEANS: tuple[Pooling, ...] = ("mean", "mean-positions")
OVER_PADDING: tuple[Pooling, ...] = ("last-position", "mean-positions")

# causal: a token sees itself and those before it; full: all of its message, padding included.
AttentionPattern = Literal["causal", "full"]


def sees_padding(pooling: Pooling, attention: AttentionPattern) -> bool:
    """Whether padding behind a message can change what the head is given."""
    return attention == "full" or pooling in OVER_PADDING


def sees_one_token(pooling: Pooling, attention: AttentionPattern) -> bool:
    """Whether the head's input depends on each message's first token alone."""
    return attention == "causal" and pooling == "first"
