"""What of a message the head reads."""

from typing import Literal

# last: the hidden state of its last token, the only one that has seen all others.
Pooling = Literal["last"]
