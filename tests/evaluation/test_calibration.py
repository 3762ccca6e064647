import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax

from spamgpt.evaluation.calibration import calibration_error, fit_temperature


def logits_at(temperature: float, labels: int, messages: int = 20_000, seed: int = 1):
    """Logits whose softmax at this temperature is how the true labels were drawn."""
    draw = np.random.default_rng(seed)
    logits = draw.normal(size=(messages, labels)) * 2
    chances = softmax(logits, axis=1).cumsum(axis=1)
    truth = (draw.random((messages, 1)) > chances[:, :-1]).sum(axis=1)
    return logits * temperature, truth


@pytest.mark.parametrize("labels", [2, 3])
@pytest.mark.parametrize("temperature", [0.3, 1, 4])
def test_the_temperature_of_the_logits_is_found(temperature, labels):
    logits, truth = logits_at(temperature, labels)
    found = fit_temperature(logits, truth)
    assert found == pytest.approx(temperature, rel=0.06)
    after = calibration_error(truth, softmax(logits / found, axis=1))
    assert after < 0.012
    if temperature != 1:
        assert after < calibration_error(truth, softmax(logits, axis=1)) / 3


@pytest.mark.parametrize("messages", [10, 100, 1000])
def test_messages_told_apart_without_a_mistake_do_not_make_it_certain(messages):
    truth = np.arange(messages) % 2
    logits = np.where(np.eye(2)[truth] == 1, 3.0, -3.0)
    scaled = logits / fit_temperature(logits, truth)
    # The rule of succession: one in so many could yet be wrong.
    wrong = 1 / (messages + 2)
    assert softmax(scaled, axis=1).min() == pytest.approx(wrong, rel=0.01)


@given(st.integers(1, 12), st.integers(2, 4), st.floats(0, 1e4), st.integers(0, 1000))
def test_the_temperature_stays_within_bounds_whatever_the_logits(messages, labels, size, seed):
    draw = np.random.default_rng(seed)
    logits = draw.normal(size=(messages, labels)) * size
    found = fit_temperature(logits, draw.integers(labels, size=messages))
    assert 1 / 20.001 < found < 20.001


def test_calibration_error_of_a_worked_example():
    # Ten messages at 0.9 of which eight are right, and ten at 0.6 of which six are.
    spam = np.array([0.9] * 10 + [0.6] * 10)
    truth = np.array([1] * 8 + [0] * 2 + [1] * 6 + [0] * 4)
    probabilities = np.stack([1 - spam, spam], axis=1)
    assert calibration_error(truth, probabilities) == pytest.approx(0.1 / 2)
    # In one bin: 14 of 20 right at 0.75 on the average.
    assert calibration_error(truth, probabilities, bins=1) == pytest.approx(0.05)
