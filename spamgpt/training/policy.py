"""The training policy: which parameters of a classifier train, and the table that shows it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from spamgpt.errors import UsageError
from spamgpt.gpt2.adapters import adapter_parameters, add_adapters, is_adapter
from spamgpt.gpt2.classifier import GPT2Classifier
from spamgpt.gpt2.config import LoraConfig
from spamgpt.printable import counted
from spamgpt.reporting import Reporter

_CHOICES = (
    "`unfreeze` is head, last-block, last-2-blocks (or another number), or all; with `lora_rank=8` "
    "these blocks are trained through adapters."
)


@dataclass(frozen=True)
class Part:
    """One part of a classifier, from the input to the output."""

    name: str
    tensors: int
    parameters: int
    trained: bool


@dataclass(frozen=True)
class TrainingPolicy:
    """What is trained of a classifier whose GPT-2 has `n_layer` blocks.

    `head` trains no block, `last-block` the last one, `last-N-blocks` the last N, `all` every one
    and the embeddings. All but `head` train the final layer norm; every policy trains the head.

    With `lora` these blocks are trained through adapters; all else but the head is frozen.
    """

    name: str
    n_layer: int
    trained_blocks: int
    lora: LoraConfig | None = None

    @classmethod
    def from_name(cls, name: str, n_layer: int, lora: LoraConfig | None = None) -> "TrainingPolicy":
        """The policy of a name.

        Raises UsageError if there is none of that name or it asks for more blocks than there are,
        or for adapters in none.
        """
        match = re.fullmatch(r"last-block|last-([1-9][0-9]*)-blocks", name)
        if match:
            blocks = int(match[1] or 1)
        elif name in ("head", "all"):
            blocks = 0 if name == "head" else n_layer
        else:
            raise UsageError(
                f"The training policy {name!r} is none of head, last-block, last-N-blocks, all.",
                _CHOICES,
            )
        if blocks > n_layer:
            raise UsageError(
                f"The training policy {name!r}: the model has {counted(n_layer, 'block')}.",
                _CHOICES,
            )
        if lora and blocks == 0:
            raise UsageError(
                "`lora_rank` puts adapters into the blocks that are trained: "
                f"`unfreeze={name}` trains none.",
                "Leave `unfreeze` out for adapters in all blocks.",
            )
        return cls(name, n_layer, blocks, lora)

    @property
    def frozen_blocks(self) -> int:
        """How many blocks, counted from the input, stay as they are: the depth of the trunk.

        0 also where the embeddings below the blocks are trained.
        """
        return self.n_layer - self.trained_blocks

    def apply(self, model: GPT2Classifier, seed: int = 123) -> list[Part]:
        """Sets which parameters get gradients; returns the parts of the classifier in order.

        Adapters that the model does not have yet are put in, drawn by `seed`.
        """
        frozen, whole = self.frozen_blocks, self.lora is None
        if self.lora:
            add_adapters(model.gpt2, frozen, self.lora, seed)
        blocks = model.gpt2.h
        groups = [
            ("embeddings", _of(model.gpt2.wte, model.gpt2.wpe), whole and self.name == "all"),
            (_block_range(1, frozen), _of(*blocks[:frozen]), False),
            (_block_range(frozen + 1, self.n_layer), _of(*blocks[frozen:]), whole),
            ("adapters", adapter_parameters(model.gpt2), True),
            ("final layer norm", _of(model.gpt2.ln_f), whole and self.name != "head"),
            ("head", _of(model.head), True),
        ]
        parts = []
        for name, parameters, trained in groups:
            for parameter in parameters:
                parameter.requires_grad_(trained)
            if parameters:
                count = sum(parameter.numel() for parameter in parameters)
                parts.append(Part(name, len(parameters), count, trained))
        return parts

    def trained(self, model: GPT2Classifier) -> dict[str, nn.Parameter]:
        """The parameters that training changes, by their names in the classifier: what is saved.

        `apply` must have been called on the model.
        """
        return {name: p for name, p in model.named_parameters() if p.requires_grad}


def show_parts(parts: Sequence[Part], reporter: Reporter) -> None:
    """Reports the parts as a table: tensors, parameters, and which are trained."""
    total = sum(part.parameters for part in parts)
    row = reporter.table("part           ", "tensors", "  parameters", "  share", "       ")
    for part in parts:
        row(
            part.name,
            str(part.tensors),
            f"{part.parameters:,}",
            f"{part.parameters / total:.2%}",
            "trained" if part.trained else "frozen",
        )


def _of(*modules: nn.Module) -> list[nn.Parameter]:
    """The parameters of modules but for those of adapters."""
    named = (each for module in modules for each in module.named_parameters())
    return [parameter for name, parameter in named if not is_adapter(name)]


def _block_range(first: int, last: int) -> str:
    return f"block {first}" if first == last else f"blocks {first}-{last}"
