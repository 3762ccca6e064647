"""Which part of a classifier is trained: the policy, and the table that shows what it means."""

import re
from dataclasses import dataclass

from torch import nn

from spamgpt.gpt2.classifier import GPT2Classifier


@dataclass(frozen=True)
class Part:
    """One part of a classifier, from the input to the output."""

    name: str
    tensors: int
    parameters: int
    trained: bool


def trained_blocks(policy: str, n_layer: int) -> int:
    """The number of blocks, counted from the output, that a policy trains.

    `head` trains 0, `last-block` 1, `last-N-blocks` N, `all` every one (and the embeddings). All
    but `head` train the final layer norm; every policy trains the head. Raises ValueError for a
    policy that is none of these or asks for more blocks than there are.
    """
    if policy == "head":
        return 0
    if policy == "all":
        return n_layer
    match = re.fullmatch(r"last-block|last-([1-9][0-9]*)-blocks", policy)
    if not match:
        raise ValueError(
            f"unfreezing policy {policy!r} is none of head, last-block, last-N-blocks, all"
        )
    blocks = int(match[1] or 1)
    if blocks > n_layer:
        raise ValueError(f"unfreezing policy {policy!r}: the model has {n_layer} blocks")
    return blocks


def unfreeze(model: GPT2Classifier, policy: str) -> list[Part]:
    """Sets which parameters of a classifier get gradients; returns its parts in order."""
    n_layer = model.gpt2.config.n_layer
    frozen = n_layer - trained_blocks(policy, n_layer)
    groups: list[tuple[str, list[nn.Module], bool]] = [
        ("embeddings", [model.gpt2.wte, model.gpt2.wpe], policy == "all"),
        (_block_range(1, frozen), list(model.gpt2.h[:frozen]), False),
        (_block_range(frozen + 1, n_layer), list(model.gpt2.h[frozen:]), True),
        ("final layer norm", [model.gpt2.ln_f], policy != "head"),
        ("head", [model.head], True),
    ]
    parts = []
    for name, modules, trained in groups:
        parameters = [parameter for module in modules for parameter in module.parameters()]
        for parameter in parameters:
            parameter.requires_grad_(trained)
        if parameters:
            parts.append(Part(name, len(parameters), sum(p.numel() for p in parameters), trained))
    return parts


def _block_range(first: int, last: int) -> str:
    return f"block {first}" if first == last else f"blocks {first}-{last}"
