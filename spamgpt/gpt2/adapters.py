"""Low-rank adapters (Hu et al. 2021, LoRA): small trained changes of weights that stay frozen."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from spamgpt.gpt2.config import LoraConfig
from spamgpt.gpt2.model import GPT2, Projection

# How the two matrices of an adapter are called beside the weight that they change.
DOWN, UP = "lora_A", "lora_B"


class LoraProjection(nn.Module):
    """In the place of a projection: x weight + bias + scale (x A) B.

    A is (inputs, rank), drawn as a linear layer is; B, (rank, outputs), is 0, so that at first
    nothing is changed (section 4.1).
    """

    def __init__(
        self, projection: Projection, lora: LoraConfig, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.projection = projection
        self.scale = lora.scale
        weight = projection.weight
        inputs, outputs = weight.shape
        drawn = torch.rand(inputs, lora.rank, generator=generator, device="cpu")
        self.lora_A = nn.Parameter(((2 * drawn - 1) * inputs**-0.5).to(weight.device))
        self.lora_B = nn.Parameter(weight.new_zeros(lora.rank, outputs))

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs) -> (n, outputs)."""
        return torch.addmm(self.projection(x), x @ self.lora_A, self.lora_B, alpha=self.scale)

    def effective_weights(self) -> tuple[Tensor, Tensor]:
        """The weight (inputs, outputs) and bias (outputs,) with which a call is x weight + bias."""
        weight, bias = self.projection.effective_weights()
        return _merged(weight, self.lora_A, self.lora_B, self.scale), bias


def _merged(weight: Tensor, down: Tensor, up: Tensor, scale: float) -> Tensor:
    return torch.addmm(weight, down, up, alpha=scale)


def add_adapters(gpt2: GPT2, start: int, lora: LoraConfig, seed: int = 123) -> None:
    """Puts an adapter in the place of each target of the blocks from `start` on that has none."""
    generator = torch.Generator().manual_seed(seed)
    for block in gpt2.blocks(start):
        for name in lora.targets:
            projection = block.get_submodule(name)
            if isinstance(projection, Projection):
                block.set_submodule(name, LoraProjection(projection, lora, generator))


def adapter_parameters(gpt2: GPT2) -> list[nn.Parameter]:
    """A and B of every adapter, in order."""
    adapters = [module for module in gpt2.modules() if isinstance(module, LoraProjection)]
    return [matrix for adapter in adapters for matrix in (adapter.lora_A, adapter.lora_B)]


@torch.no_grad()
def merge_adapters(gpt2: GPT2) -> None:
    """Puts a projection in the place of each adapter that computes the same."""
    for name, adapter in list(gpt2.named_modules()):
        if isinstance(adapter, LoraProjection):
            weight, bias = adapter.effective_weights()
            with torch.device("meta"):
                projection = Projection(*weight.shape)
            projection.weight = nn.Parameter(weight)
            projection.bias = nn.Parameter(bias)
            gpt2.set_submodule(name, projection)


class MergedTensors(Mapping[str, Tensor]):
    """The tensors of a model by name, its adapters merged into the weights when these are read."""

    def __init__(self, tensors: Mapping[str, Tensor], lora: LoraConfig) -> None:
        self._tensors = tensors
        self._lora = lora

    def __getitem__(self, name: str) -> Tensor:
        place, _, kind = name.rpartition(".")
        if kind != "weight" or f"{place}.{DOWN}" not in self._tensors:
            return self._tensors[name]
        weight, down, up = (self._tensors[f"{place}.{kind}"] for kind in ("weight", DOWN, UP))
        return _merged(weight.float(), down.float(), up.float(), self._lora.scale)

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._tensors if not is_adapter(name))

    def __len__(self) -> int:
        return sum(1 for _ in self)


def is_adapter(name: str) -> bool:
    """Whether a tensor of this name is a matrix of an adapter."""
    return name.endswith((f".{DOWN}", f".{UP}"))
