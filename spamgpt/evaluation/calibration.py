"""Temperature scaling: probabilities that mean what they say."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

# No data moves the temperature further than this from 1, in either direction.
_MOST = 20.0


def fit_temperature(logits: Floats, truth: npt.NDArray[np.intp]) -> float:
    """The number T by which to divide logits (messages, labels) for probabilities to be trusted.

    Temperature scaling (Guo et al. 2017, section 4.2): T minimises the cross-entropy on messages
    that were not trained on. Where these are told apart without a mistake that would be T = 0, and
    probabilities of one; so the targets are not 0 and 1 but 1 / (messages + labels) for each other
    label and the rest for the true one. That is Platt's remedy (1999, section 2.2), which counts
    the messages of each label: for labels of some fifty that left probabilities too low. T stays
    between 1/20 and 20.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    messages, labels = logits.shape
    other = 1 / (messages + labels)
    targets = np.full((messages, labels), other)
    targets[range(messages), truth] = 1 - (labels - 1) * other

    def loss(log_temperature: float) -> float:
        scaled = log_softmax(logits / np.exp(log_temperature), axis=1)
        return float(-(targets * scaled).sum(axis=1).mean())

    # The loss is convex in 1/T, so it has one minimum in log T.
    limit = np.log(_MOST)
    found = minimize_scalar(loss, bounds=(-limit, limit), method="bounded")
    return float(np.exp(found.x))
