"""How the learning rate of fine-tuning changes from step to step."""

from typing import Literal

Schedule = Literal["constant", "linear"]

# The share of the steps in which the learning rate of the linear schedule rises.
WARM_UP = 0.06


def learning_rate_factor(schedule: Schedule, spent: float) -> float:
    """What the learning rate is multiplied by when a share `spent` of the steps is done.

    "linear" rises over the first WARM_UP of the steps and falls to 0 at the end, which makes
    fine-tuning on few data reliable (Mosbach et al. 2021, On the Stability of Fine-tuning BERT).
    """
    if schedule == "constant":
        return 1.0
    return min(spent / WARM_UP, 1.0) * (1.0 - spent)
