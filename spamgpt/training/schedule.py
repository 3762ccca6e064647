"""How the learning rate changes over a run: what it is multiplied by, step for step."""

import math
from typing import Literal

Schedule = Literal["constant", "linear"]
PretrainingSchedule = Literal["cosine", "trapezoid"]

# The shares of the steps in which the learning rate of the linear and the cosine schedule rises.
LINEAR_WARM_UP, COSINE_WARM_UP = 0.06, 0.02
# What the cosine falls to.
FINAL_RATE = 0.1
# The share of the budget, its end, in which the trapezoid falls.
DECAY = 0.2


def learning_rate_factor(schedule: Schedule, spent: float) -> float:
    """The factor for fine-tuning when a share `spent` of the steps is done.

    "linear" rises over the first LINEAR_WARM_UP of the steps and falls to 0 at the end, which makes
    fine-tuning on few data reliable (Mosbach et al. 2021, On the Stability of Fine-tuning BERT).
    """
    if schedule == "constant":
        return 1.0
    return min(spent / LINEAR_WARM_UP, 1.0) * (1.0 - spent)


def cosine(spent: float) -> float:
    """Linear warm-up, then a cosine down to FINAL_RATE, against the share of the budget spent."""
    if spent < COSINE_WARM_UP:
        return spent / COSINE_WARM_UP
    falling = 0.5 * (1 + math.cos(math.pi * (spent - COSINE_WARM_UP) / (1 - COSINE_WARM_UP)))
    return FINAL_RATE + (1 - FINAL_RATE) * falling


def trapezoid(warmed_up: float, spent: float) -> float:
    """Warm-up, a stable rate, then a linear decay to 0 over the last DECAY of the budget.

    As good as a cosine, and the budget matters only from where the decay begins, so that it can
    grow while the run is under way (Hägele et al. 2024, Scaling Laws and Compute-Optimal Training
    Beyond Fixed Training Durations). `warmed_up` is the share of the warm-up that is done; more
    than 1 is all of it.
    """
    return min(warmed_up, 1.0) * min((1.0 - spent) / DECAY, 1.0)
