"""The settings that make a variant of a classifier, read and checked: padding and adapters."""

import math

from spamgpt.errors import UsageError
from spamgpt.gpt2.config import PROJECTIONS, LoraConfig
from spamgpt.gpt2.pooling import OVER_PADDING, Pooling

_PADDINGS = "`padding` is none, longest, context, or a number of tokens."
# What reads the residual stream in attention, and all that writes into it.
LORA_TARGETS = "c_attn,c_proj"


def check_padding(padding: str, pooling: Pooling, context: int) -> None:
    """Raises UsageError for a padding that cannot be, or a pooling that needs another."""
    if padding not in ("none", "longest", "context"):
        if not padding.isascii() or not padding.isdigit() or int(padding) == 0:
            raise UsageError(f"{padding!r} is no padding.", _PADDINGS)
        if int(padding) > context:
            raise UsageError(
                f"`padding={padding}` is more than the model's context of {context} tokens.",
                "Give a smaller number, or use `padding=context`.",
            )
    if pooling in OVER_PADDING and padding == "none":
        raise UsageError(
            f"`pooling={pooling}` reads padding, and there is none.",
            "Add `padding=longest`, or use `pooling={}`.".format(
                "last" if pooling == "last-position" else "mean"
            ),
        )


def padded_length(padding: str, longest: int, context: int) -> int | None:
    """How long padded messages are, in tokens; None without padding.

    `longest` is the length of the longest training message.
    """
    lengths = {"none": None, "longest": longest, "context": context}
    return lengths[padding] if padding in lengths else int(padding)


def lora_config(
    rank: int | None, alpha: float | None, targets: str | None, n_embd: int
) -> LoraConfig | None:
    """The adapters that the settings ask for; None without a rank.

    `targets` are names of projections or their ends, separated by commas, or `all`. Raises
    UsageError for what cannot be.
    """
    if rank is None:
        for name, value in (("lora_alpha", alpha), ("lora_targets", targets)):
            if value is not None:
                raise UsageError(f"`{name}` is for adapters.", "Give their rank: `lora_rank=8`.")
        return None
    if not 1 <= rank <= n_embd:
        raise UsageError(
            f"`lora_rank={rank}` is not between 1 and the model's width, {n_embd}.",
            "Common ranks are 4 to 64.",
        )
    alpha = float(rank) if alpha is None else alpha
    if not (0 < alpha < math.inf):
        raise UsageError(f"`lora_alpha={alpha:g}` is no number above 0.", "Give another value.")
    return LoraConfig(rank, alpha, _targets(LORA_TARGETS if targets is None else targets))


def _targets(text: str) -> tuple[str, ...]:
    wanted = [name.strip() for name in text.split(",")]
    chosen: set[str] = set()
    for name in wanted:
        found = {known for known in PROJECTIONS if name == "all" or _ends(known, name)}
        if not found:
            raise UsageError(
                f"`lora_targets`: {name!r} is no projection of GPT-2.",
                f"Choose from c_attn, c_proj, c_fc, {', '.join(PROJECTIONS)}, or all.",
            )
        chosen |= found
    return tuple(name for name in PROJECTIONS if name in chosen)


def _ends(whole: str, name: str) -> bool:
    return whole == name or whole.endswith(f".{name}")
