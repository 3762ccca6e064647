"""Whether two ways to train differ by more than chance: a paired test over seeds, and Holm's rule.

McNemar's test of two single classifiers is in `intervals.py`.
"""

from collections.abc import Sequence

import numpy as np


def paired_t_test(first: Sequence[float], second: Sequence[float], messages: int) -> float:
    """The p-value of Student's paired t-test (1908), two-sided, over two or more seeds.

    `first` and `second` are shares of the same `messages`, one a seed, in the same order of seeds.
    Such a share is rounded to whole messages: the differences are taken to vary at least as much
    as that rounding does, or equal differences would be certain after two seeds.
    """
    from scipy.stats import t

    differences = np.subtract(first, second)
    seeds = len(differences)
    rounding = 2 / (12 * messages**2)
    deviation = max(float(differences.var(ddof=1)), rounding) ** 0.5
    statistic = abs(float(differences.mean())) / (deviation / seeds**0.5)
    return float(2 * t.sf(statistic, seeds - 1))


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values adjusted for there being several (Holm 1979), in the order given."""
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted
