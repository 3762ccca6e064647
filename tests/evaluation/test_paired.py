import pytest
from scipy.stats import ttest_rel

from spamgpt.evaluation.paired import holm, paired_t_test


def test_the_paired_test_is_scipys():
    first, second = [0.95, 0.97, 0.94, 0.96], [0.91, 0.95, 0.92, 0.90]
    expected = ttest_rel(first, second).pvalue
    assert paired_t_test(first, second, 300) == pytest.approx(expected)
    assert paired_t_test(second, first, 300) == pytest.approx(expected)


def test_equal_differences_are_no_more_certain_than_whole_messages_allow():
    # One message of 100 with both seeds, and none.
    assert paired_t_test([0.91, 0.92], [0.90, 0.91], 100) > 0.05
    assert paired_t_test([0.9, 0.9], [0.9, 0.9], 100) == 1


def test_holm_multiplies_by_the_tests_that_are_left():
    # The example of the paper's method: sorted 0.01, 0.02, 0.04 times 3, 2, 1.
    assert holm([0.04, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    assert holm([0.5, 0.6]) == [1.0, 1.0]
    assert holm([]) == []
