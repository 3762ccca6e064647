"""The optimizers: AdamW, whose arithmetic is torch's fused kernel, and Muon for pre-training.

The optimizer classes of torch import its compiler when the first is made, which takes as long as
importing torch: longer than many a fine-tuning. Their functional form does not.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.optim.adamw import adamw

from spamgpt.gpt2.model import GPT2
from spamgpt.training.hyperparameters import PretrainingOptimizer
from spamgpt.training.sharding import assign, local

_EPSILON = 1e-8
# Pre-training forgets old gradients sooner, as GPT-3 did (Brown et al. 2020, appendix B).
_PRETRAINING_BETAS = (0.9, 0.95)


class Optimizer(Protocol):
    """What training asks of an optimizer. `learning_rate` may be changed between steps."""

    learning_rate: float

    def zero_grad(self) -> None:
        """Forgets all gradients."""

    def step(self) -> None:
        """Changes every parameter by its gradient; all of them have one."""

    def state_dict(self) -> dict[str, Any]:
        """Everything that `load_state_dict` needs, as tensors and plain values."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from a state that an equal optimizer gave."""


class AdamW:
    """Decoupled weight decay (Loshchilov & Hutter 2019): what torch.optim.AdamW does, bit for bit.

    `learning_rate` may be changed between steps.
    """

    def __init__(
        self,
        parameters: Sequence[Tensor],
        learning_rate: float,
        weight_decay: float,
        betas: tuple[float, float] = (0.9, 0.999),
    ) -> None:
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.parameters = list(parameters)
        self._betas = betas
        self._means = [torch.zeros_like(parameter) for parameter in self.parameters]
        self._squares = [torch.zeros_like(parameter) for parameter in self.parameters]
        self._steps = [torch.zeros((), device=parameter.device) for parameter in parameters]

    def zero_grad(self) -> None:
        """Forgets all gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Changes every parameter by its gradient; all of them have one."""
        gradients = []
        for parameter in self.parameters:
            assert parameter.grad is not None
            gradients.append(local(parameter.grad))
        adamw(
            [local(parameter) for parameter in self.parameters],
            gradients,
            [local(mean) for mean in self._means],
            [local(square) for square in self._squares],
            [],
            self._steps,
            fused=True,
            amsgrad=False,
            beta1=self._betas[0],
            beta2=self._betas[1],
            lr=self.learning_rate,
            weight_decay=self.weight_decay,
            eps=_EPSILON,
            maximize=False,
        )

    def state_dict(self) -> dict[str, Any]:
        """The moments and the number of steps."""
        return {"means": self._means, "squares": self._squares, "steps": self._steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from a state that an equal optimizer gave."""
        for name, tensors in self.state_dict().items():
            for tensor, saved in zip(tensors, state[name], strict=True):
                assign(tensor, saved)


class Muon:
    """Momentum, made orthogonal, for matrices (Jordan et al. 2024): torch's, slow to import.

    Its steps are scaled to the size of AdamW's, so that one learning rate suits both (Liu et al.
    2025, Muon is Scalable for LLM Training, section 2.2).
    """

    def __init__(
        self, matrices: Sequence[Tensor], learning_rate: float, weight_decay: float
    ) -> None:
        self.learning_rate = learning_rate
        self.matrices = list(matrices)
        self._muon = torch.optim.Muon(
            self.matrices,
            lr=learning_rate,
            weight_decay=weight_decay,
            adjust_lr_fn="match_rms_adamw",
        )

    def zero_grad(self) -> None:
        """Forgets all gradients."""
        self._muon.zero_grad()

    def step(self) -> None:
        """Changes every matrix by its gradient."""
        for group in self._muon.param_groups:
            group["lr"] = self.learning_rate
        self._muon.step()

    def state_dict(self) -> dict[str, Any]:
        """The momentum."""
        return self._muon.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from a state that an equal optimizer gave."""
        self._muon.load_state_dict(state)


class Optimizers:
    """Several optimizers, each with its own parameters, as one with one learning rate."""

    def __init__(self, members: Sequence[Optimizer]) -> None:
        self.members = list(members)

    @property
    def learning_rate(self) -> float:
        """That of every member."""
        return self.members[0].learning_rate

    @learning_rate.setter
    def learning_rate(self, rate: float) -> None:
        for member in self.members:
            member.learning_rate = rate

    def zero_grad(self) -> None:
        """Forgets all gradients."""
        for member in self.members:
            member.zero_grad()

    def step(self) -> None:
        """Changes every parameter by its gradient; all of them have one."""
        for member in self.members:
            member.step()

    def state_dict(self) -> dict[str, Any]:
        """The state of every member."""
        return {"members": [member.state_dict() for member in self.members]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from a state that equal optimizers gave."""
        for member, saved in zip(self.members, state["members"], strict=True):
            member.load_state_dict(saved)


def pretraining_optimizer(
    model: GPT2, name: PretrainingOptimizer, learning_rate: float, weight_decay: float
) -> Optimizers:
    """The optimizer of all parameters of a language model.

    "adamw" is AdamW for all of them; "muon" is Muon for the matrices of the blocks and AdamW for
    the embeddings, norms and biases. Weight decay is for matrices and embeddings only.
    """
    named = list(model.named_parameters())
    matrices = [p for name_, p in named if p.dim() > 1 and name_.startswith("h.")]
    embeddings = [p for name_, p in named if p.dim() > 1 and not name_.startswith("h.")]
    others = [p for _, p in named if p.dim() < 2]

    def adam(parameters: Sequence[Tensor], decay: float) -> AdamW:
        return AdamW(parameters, learning_rate, decay, _PRETRAINING_BETAS)

    members: list[Optimizer] = [
        Muon(matrices, learning_rate, weight_decay)
        if name == "muon"
        else adam(matrices, weight_decay),
        adam(embeddings, weight_decay),
        adam(others, 0.0),
    ]
    return Optimizers(members)
