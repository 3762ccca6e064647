"""The limit: the machine's rate of matrix products, and the share of it that is reached.

The rate is that of the best library, whichever spamgpt uses, with weights in the layout for it.
"""

from collections.abc import Callable, Iterator
from functools import partial

import torch

from benchmarks.world import GPT2_SHAPE, World, fastest, precisions, spamgpt
from spamgpt.classifier.inference import predict_logits
from spamgpt.classifier.model import SpamClassifier
from spamgpt.data.batches import TokenizedMessages, tokenize
from spamgpt.data.tables import read_table
from spamgpt.gpt2.backends.projections import (
    FusedProjection,
    QuantizedProjection,
    fused_projections_work,
)
from spamgpt.workspace import Workspace

# As the widest product of a block: tokens x n_embd times n_embd x 4 n_embd.
ROWS = 4096
TIMES = 5
EPOCHS = 5
# Messages that are predicted.
SAMPLE = 1_000


def measure(world: World) -> Iterator[tuple[str, str]]:
    """Yields a figure's name and its value."""
    world.make_classifier()
    rates = _rates()
    for name, rate in rates.items():
        yield f"matrix products, {name}", f"{rate / 1e9:,.0f} GFLOP/s"
    for precision in precisions():
        classifier = SpamClassifier.from_pretrained(
            world.folder / "workspace", device="cpu", precision=precision
        )
        messages = tokenize(world.texts[:SAMPLE], classifier.tokenizer, classifier.context)
        seconds = fastest(
            2, partial(predict_logits, classifier.model, messages, torch.device("cpu"))
        )
        yield (
            f"prediction, {precision}: useful operations",
            _share(prediction_operations(_lengths(messages)), seconds, precision, rates),
        )
    for state in ("cold", "warm"):
        if state == "cold":
            spamgpt("cache", "--clear", folder=world.folder)
        run = spamgpt("finetune", "--epochs", EPOCHS, "--select", "last", folder=world.folder)
        prepared = Workspace(world.folder / "workspace").newest("prepared")
        train, validation = (
            _lengths(tokenize(list(table["text"]), classifier.tokenizer, classifier.context))
            for table in (read_table(prepared.file(f"{n}.csv")) for n in ("train", "validation"))
        )
        operations = finetuning_operations(train, validation, EPOCHS, trunk=state == "cold")
        yield (
            f"fine-tuning, {EPOCHS} epochs, whole command, {state} cache: useful operations",
            _share(operations, run.seconds, "bf16", rates),
        )


def _share(operations: int, seconds: float, peer: str, rates: dict[str, float]) -> str:
    rate = operations / seconds
    return f"{rate / 1e9:,.0f} GFLOP/s, {rate / rates[peer]:.0%} of matrix products in {peer}"


def _lengths(messages: TokenizedMessages) -> list[int]:
    return [len(ids) for ids in messages.token_ids]


def prediction_operations(lengths: list[int]) -> int:
    """The floating-point operations that answers need, a multiplication and a sum being two."""
    return trunk_operations(lengths) + last_block_operations(lengths)


def finetuning_operations(train: list[int], validation: list[int], epochs: int, trunk: bool) -> int:
    """Those of training the last block: `trunk` with those of the frozen blocks, once.

    A step's backward pass needs twice as many as its forward pass; each epoch both splits are
    scored.
    """
    both = [*train, *validation]
    steps = 3 * last_block_operations(train) + last_block_operations(both)
    return (trunk_operations(both) if trunk else 0) + epochs * steps


def trunk_operations(lengths: list[int]) -> int:
    """All blocks but the last: projections of every token, attention to those before it."""
    width, tokens = GPT2_SHAPE.n_embd, sum(lengths)
    pairs = sum(length * (length + 1) // 2 for length in lengths)
    whole = 2 * 12 * width * width * tokens + 2 * 2 * width * pairs
    return (GPT2_SHAPE.n_layer - 1) * whole


def last_block_operations(lengths: list[int]) -> int:
    """Every weight once a message; a score of each token and its part in a sum, for each head."""
    width, tokens = GPT2_SHAPE.n_embd, sum(lengths)
    return 2 * 12 * width * width * len(lengths) + 2 * 2 * GPT2_SHAPE.n_head * width * tokens


def _rates() -> dict[str, float]:
    """Operations a second of the widest product of a block, by precision."""
    width = GPT2_SHAPE.n_embd
    x, weight, bias = (
        torch.randn(ROWS, width),
        torch.randn(width, 4 * width),
        torch.randn(4 * width),
    )

    def rate(product: Callable[[], object]) -> float:
        with torch.inference_mode():
            return 2 * ROWS * width * 4 * width / fastest(4 * TIMES, product)

    low, low_weight = x.bfloat16(), weight.bfloat16()
    rates = {"fp32": rate(lambda: x @ weight), "bf16": rate(lambda: low @ low_weight)}
    for name, rows in (("fp32", x), ("bf16", low)):
        if fused_projections_work(rows.dtype):
            packed = FusedProjection(weight, bias, False, rows.dtype)
            rates[name] = max(rates[name], rate(partial(packed.product, rows)))
    if "int8" in precisions():
        rounded = torch.randint(255, (ROWS, width), dtype=torch.uint8)
        rates["int8"] = rate(partial(QuantizedProjection(weight, bias).product, rounded))
    return rates
