import pytest

from spamgpt.training.schedule import cosine, learning_rate_factor, trapezoid

SHARES = [share / 100 for share in range(101)]


def test_the_linear_schedule_rises_and_falls_to_nothing():
    factors = [learning_rate_factor("linear", spent) for spent in SHARES]
    assert factors[0] == factors[-1] == 0
    assert max(factors) == factors[6]
    assert factors[6:] == sorted(factors[6:], reverse=True)
    assert {learning_rate_factor("constant", spent) for spent in SHARES} == {1}


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
