import pytest
import torch
from transformers import get_constant_schedule_with_warmup, get_cosine_schedule_with_warmup

from spamgpt.training.schedule import WARM_UP, cosine, learning_rate_factor, trapezoid

SHARES = [share / 100 for share in range(101)]


def test_the_linear_schedule_rises_and_falls_to_nothing():
    factors = [learning_rate_factor("linear", spent, WARM_UP["linear"]) for spent in SHARES]
    assert factors[0] == factors[-1] == 0
    assert max(factors) == factors[6]
    assert factors[6:] == sorted(factors[6:], reverse=True)
    constant = {learning_rate_factor("constant", spent, WARM_UP["constant"]) for spent in SHARES}
    assert constant == {1}


@pytest.mark.parametrize("warm_up", [0.0, 0.05, 0.3, 1.0])
def test_the_cosine_and_the_constant_schedule_are_those_of_transformers(warm_up):
    steps, rising = 40, int(40 * warm_up)
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    for schedule, expected in (
        ("cosine", get_cosine_schedule_with_warmup(optimizer, rising, steps)),
        ("constant", get_constant_schedule_with_warmup(optimizer, rising)),
    ):
        (factor,) = expected.lr_lambdas
        for step in range(steps):  # both count to the middle of a step here
            found = learning_rate_factor(schedule, (step + 0.5) / steps, warm_up)
            assert found == pytest.approx(factor(step + 0.5), abs=1e-12)


def test_the_linear_schedule_falls_from_the_first_step_on_without_a_warm_up():
    assert [learning_rate_factor("linear", spent, 0.0) for spent in (0, 0.25, 1)] == [1, 0.75, 0]
    assert learning_rate_factor("linear", 0.25, 0.5) == 0.5 * 0.75


def test_the_cosine_warms_up_and_falls_to_a_tenth():
    factors = [cosine(spent) for spent in SHARES]
    assert factors[0] == 0
    assert max(factors) == factors[2] == 1
    assert factors[2:] == sorted(factors[2:], reverse=True)
    assert factors[100] == pytest.approx(0.1)


def test_the_trapezoid_warms_up_stays_and_falls_over_the_last_fifth():
    assert [trapezoid(warmed_up, 0.01) for warmed_up in (0, 0.5, 1, 9)] == [0, 0.5, 1, 1]
    factors = [trapezoid(9, spent) for spent in SHARES]
    assert set(factors[:80]) == {1}
    assert factors[90] == pytest.approx(0.5)
    assert factors[100] == 0
