import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix, f1_score

from spamgpt.errors import UsageError
from spamgpt.evaluation.thresholds import (
    operating_points,
    parse_share,
    points_at_limits,
    with_best_f1,
    with_false_positive_rate,
)

SCORES = st.lists(
    st.tuples(st.booleans(), st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.50001, 0.7, 0.99, 1.0])),
    min_size=1,
    max_size=30,
)


def arrays(pairs):
    return np.array([spam for spam, _ in pairs]), np.array([score for _, score in pairs])


@given(SCORES)
@settings(max_examples=30)
def test_every_point_does_what_it_says_at_its_threshold(pairs):
    is_spam, scores = arrays(pairs)
    points = operating_points(is_spam, scores)
    assert len(points) == len(set(scores)) + 1
    for point in points:
        called = scores >= point.threshold
        (_, lost), (_, caught) = confusion_matrix(is_spam, called, labels=[False, True])
        assert (point.false_positives, point.true_positives) == (lost, caught)
        assert point.f1 == pytest.approx(f1_score(is_spam, called, zero_division=0.0))


@given(SCORES, st.sampled_from([0, 0.001, 0.1, 0.34, 1]))
@settings(max_examples=40)
def test_no_threshold_catches_more_at_that_loss(pairs, most):
    is_spam, scores = arrays(pairs)
    chosen = with_false_positive_rate(operating_points(is_spam, scores), most)
    assert chosen.false_positive_rate <= most + 1e-9
    for threshold in np.arange(0, 1.01, 0.05):
        called = scores >= threshold
        if (called & ~is_spam).sum() <= most * (~is_spam).sum():
            assert (called & is_spam).sum() <= chosen.true_positives


def test_half_of_the_ham_is_not_lost_where_that_catches_no_more():
    is_spam, scores = np.array([False, False, True, True]), np.array([0.1, 0.45, 0.8, 0.9])
    assert with_false_positive_rate(operating_points(is_spam, scores), 0.5).threshold == 0.5


@given(seed=st.integers(0, 2**32 - 1), sharpness=st.floats(0.3, 4))
@settings(max_examples=20)
def test_no_threshold_has_a_better_expected_f1_than_the_one_chosen(seed, sharpness):
    draw = np.random.default_rng(seed)
    scores = 1 / (1 + np.exp(-sharpness * draw.normal(-1, 2, 400)))
    is_spam = draw.random(400) < scores
    chosen = with_best_f1(operating_points(is_spam, scores), scores)
    assert chosen.true_positives == (is_spam & (scores >= chosen.threshold)).sum()
    assert chosen.threshold <= 0.5

    def expected_f1(threshold):
        called = scores >= threshold
        return 2 * scores[called].sum() / (called.sum() + scores.sum())

    best = expected_f1(chosen.threshold)
    assert best == pytest.approx(2 * chosen.threshold)
    assert all(expected_f1(score) <= best + 1e-12 for score in scores)


def test_a_few_odd_messages_do_not_move_the_threshold_of_the_best_f1():
    # One sure ham that is spam would draw the best F1 counted on these down to 0.2.
    scores = np.array([0.01] * 50 + [0.2] + [0.99] * 50)
    is_spam = np.array([False] * 50 + [True] * 51)
    chosen = with_best_f1(operating_points(is_spam, scores), scores)
    assert 0.48 < chosen.threshold <= 0.5


def test_where_ham_is_the_surest_nothing_is_called_spam():
    is_spam, scores = np.array([True, False]), np.array([0.9, 1.0])
    chosen = with_false_positive_rate(operating_points(is_spam, scores), 0.0)
    assert chosen.threshold > 1
    assert (chosen.true_positives, chosen.false_positives) == (0, 0)


def test_a_thousand_ham_allow_one_five_or_ten_to_be_lost():
    # Of a thousand ham the k-th surest scores just above the k-th hundred of the spam.
    is_spam = np.array([False] * 1000 + [True] * 1000)
    scores = np.concatenate([np.linspace(0.999, 0, 1000), np.linspace(0.9985, 0.9, 1000)])
    found = points_at_limits(operating_points(is_spam, scores))
    assert [point.false_positives for point in found] == [1, 5, 10]
    for point in found:
        called = scores >= point.threshold
        assert point.recall == called[1000:].mean()
        low, high = point.recall_interval
        assert low <= point.recall <= high
        assert point.false_positive_rate == called[:1000].mean() <= point.max_false_positive_rate


def test_a_loss_that_no_float_holds_is_allowed_in_full():
    is_spam = np.array([False] * 1000 + [True])
    scores = np.concatenate([np.linspace(0.9, 0.1, 1000), [0.05]])
    assert (
        with_false_positive_rate(
            operating_points(is_spam, scores), parse_share("100%")
        ).false_positives
        == 1000
    )
    scores[-1] = scores[6] - 1e-5  # below seven of the thousand
    assert (
        with_false_positive_rate(operating_points(is_spam, scores), parse_share("0.7%")).recall == 1
    )


@pytest.mark.parametrize(
    ("text", "share"),
    [("0.5%", 0.005), ("0.005", 0.005), ("0%", 0), ("100%", 1), ("0", 0), ("1e-1%", 0.001)],
)
def test_percentages_and_shares_are_read(text, share):
    assert parse_share(text) == pytest.approx(share)


@pytest.mark.parametrize("text", ["5", "101%", "-1%", "-0.1", "%", "nan%", "nan", "half", ""])
def test_what_is_not_a_percentage_is_told(text):
    with pytest.raises(UsageError, match="not a percentage"):
        parse_share(text)
