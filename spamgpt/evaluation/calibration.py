"""Probabilities that mean what they say: how far they are from it, and temperature scaling."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

# Guo et al. 2017, section 3: so many bins of equal width.
ECE_BINS = 15

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


def calibration_error(
    truth: npt.NDArray[np.intp], probabilities: Floats, bins: int = ECE_BINS
) -> float:
    """The expected calibration error of the most probable label (Guo et al. 2017, equation 3).

    Messages are put in bins of equal width by the probability of their most probable label; the
    error is the mean over messages of how far the bin's accuracy is from its mean probability.
    """
    gaps = calibration_gaps(truth, probabilities, bins)
    return float(np.abs(gaps.sum(axis=0)).sum() / len(truth))


def calibration_gaps(truth: npt.NDArray[np.intp], probabilities: Floats, bins: int) -> Floats:
    """(messages, bins): probability less correctness, in the column of the message's bin."""
    confidence = probabilities.max(axis=1)
    correct = probabilities.argmax(axis=1) == truth
    # A bin holds its upper end, as in Guo et al.
    column = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gaps = np.zeros((len(truth), bins))
    gaps[range(len(truth)), column] = confidence - correct
    return gaps


def log_losses(truth: npt.NDArray[np.intp], probabilities: Floats) -> Floats:
    """(messages,) nats; clipped as scikit-learn does."""
    tiny = np.finfo(np.float64).eps
    losses: Floats = -np.log(np.clip(probabilities[range(len(truth)), truth], tiny, 1 - tiny))
    return losses
