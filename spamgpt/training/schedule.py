"""How the learning rate changes over a run: what it is multiplied by, step for step."""

import math
from collections.abc import Mapping
from typing import Literal

Schedule = Literal["constant", "linear", "cosine"]
PretrainingSchedule = Literal["cosine", "trapezoid"]

# The share of the steps in which the learning rate of a fine-tuning rises unless another is given.
WARM_UP: Mapping[Schedule, float] = {"constant": 0.0, "linear": 0.06, "cosine": 0.06}
# That of the cosine schedule of pre-training.
COSINE_WARM_UP = 0.02
# What the cosine falls to.
FINAL_RATE = 0.1
# The share of the budget, its end, in which the trapezoid falls.
DECAY = 0.2


def learning_rate_factor(schedule: Schedule, spent: float, warm_up: float) -> float:
    """The factor for fine-tuning when a share `spent` of the steps is done.

    It rises over the first `warm_up` of the steps. "constant" then stays. "linear" falls to 0 over
    the whole run, its beginning included, which makes fine-tuning on few data reliable (Mosbach et
    al. 2021, On the Stability of Fine-tuning BERT). "cosine" falls to 0 along half a cosine after
    the warm-up (Loshchilov & Hutter 2017, SGDR).
    """
    risen = min(spent / warm_up, 1.0) if warm_up else 1.0
    if schedule == "linear":
        return risen * (1.0 - spent)
    if schedule == "cosine" and spent > warm_up:
        return 0.5 * (1 + math.cos(math.pi * (spent - warm_up) / (1 - warm_up)))
    return risen


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
