"""The limit: the machine's rate of matrix products, and the share of it that is reached."""

from collections.abc import Iterator

import torch

from benchmarks.world import GPT2_SHAPE, World, fastest
from spamgpt.classifier import SpamClassifier
from spamgpt.data.batches import tokenize
from spamgpt.inference import classify

# As the widest product of a block: tokens x n_embd times n_embd x 4 n_embd.
ROWS = 4096
TIMES = 5


def measure(world: World) -> Iterator[tuple[str, str]]:
    """Yields a figure's name and its value."""
    world.make_classifier()
    rates = {name: _rate(dtype) for name, dtype in _TYPES.items()}
    for name, rate in rates.items():
        yield f"matrix products, {name}", f"{rate / 1e9:,.0f} GFLOP/s"
    texts = world.texts
    for precision in _TYPES:
        classifier = SpamClassifier.load(
            world.folder / "workspace", device="cpu", precision=precision
        )
        messages = tokenize(texts, classifier.tokenizer, classifier.context)
        seconds = fastest(
            2, lambda c=classifier, m=messages: classify(c.model, m, torch.device("cpu"))
        )
        rate = useful_operations([len(ids) for ids in messages.token_ids]) / seconds
        yield (
            f"prediction, {precision}: useful operations",
            f"{rate / 1e9:,.0f} GFLOP/s, {rate / rates[precision]:.0%} of that",
        )


_TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def useful_operations(lengths: list[int]) -> int:
    """The floating-point operations that an answer needs, a multiplication and a sum being two.

    All but the last block: the projections of every token and attention to those before it. The
    last: keys and values of every token, the rest for the one that is read.
    """
    width, blocks = GPT2_SHAPE.n_embd, GPT2_SHAPE.n_layer
    total = 0
    for tokens in lengths:
        pairs = tokens * (tokens + 1) // 2
        whole = 2 * 12 * width * width * tokens + 2 * 2 * width * pairs
        last = 2 * 2 * width * width * tokens + 2 * 10 * width * width + 2 * 2 * width * tokens
        total += (blocks - 1) * whole + last
    return total


def _rate(dtype: torch.dtype) -> float:
    """Operations a second of the widest product of a block."""
    width = GPT2_SHAPE.n_embd
    a, b = torch.randn(ROWS, width).to(dtype), torch.randn(width, 4 * width).to(dtype)
    return 2 * ROWS * width * 4 * width / fastest(4 * TIMES, lambda: a @ b)
