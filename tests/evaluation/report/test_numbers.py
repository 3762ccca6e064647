from spamgpt.evaluation.metrics import ACCURACY, MCC
from spamgpt.evaluation.report import numbers


def test_shares_are_shown_in_per_cent_and_other_scores_in_decimals():
    assert numbers.score(ACCURACY, 0.9876) == "98.8%"
    assert numbers.score(MCC, -0.5) == "\N{MINUS SIGN}0.500"
    assert numbers.score_interval(ACCURACY, (0.5, 0.75)) == "50.0% \N{EN DASH} 75.0%"
    assert numbers.score(MCC, None) == "none"
    assert numbers.score_interval(MCC, None) == ""


def test_a_threshold_above_one_is_never_reached():
    assert numbers.threshold(1.0000001) == "never"
    assert numbers.threshold(0.97) == "0.9700"


def test_differences_have_a_sign():
    assert numbers.points(0.02) == "+2.0"
    assert numbers.points(-0.02) == "\N{MINUS SIGN}2.0"


def test_a_p_that_is_next_to_nothing_is_told_as_such():
    assert numbers.p_value(1e-9) == "p < 0.0001"
    assert numbers.p_value(0.0625) == "p = 0.062"
