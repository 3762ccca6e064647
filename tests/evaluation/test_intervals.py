import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn import metrics

from spamgpt.evaluation.bootstrap import Resamples
from spamgpt.evaluation.intervals import (
    Difference,
    McNemar,
    differences,
    intervals,
    mcnemar,
    resample,
    wilson_interval,
)
from spamgpt.evaluation.metrics import (
    ACCURACY,
    AVERAGE_PRECISION,
    BALANCED_ACCURACY,
    BRIER,
    ECE,
    F1,
    LOSS,
    MACRO_F1,
    MCC,
    METRICS,
    RECALL,
    ROC_AUC,
    compute_metrics,
)
from spamgpt.evaluation.outcome import Outcome


def outcome(messages: int, labels: int, seed: int, skill: float = 1.0, digits: int = 2) -> Outcome:
    """Answers of some skill; rounded scores, so that there are ties."""
    draw = np.random.default_rng(seed)
    names = [f"label {index}" for index in range(labels)]
    truth = np.concatenate([np.arange(labels), draw.integers(labels, size=messages - labels)])
    logits = draw.normal(size=(messages, labels)) + skill * np.eye(labels)[truth]
    # Exact where rounded: sums of one that scikit-learn accepts.
    odds = np.exp(np.round(logits, digits))
    probabilities = odds / odds.sum(axis=1, keepdims=True)
    if labels == 2:
        positive = np.round(probabilities[:, 1], digits)
        probabilities = np.stack([1 - positive, positive], axis=1)
    return Outcome(
        [names[index] for index in truth],
        [names[index] for index in probabilities.argmax(axis=1)],
        names,
        names[-1],
        probabilities,
        probabilities,
    )


@given(st.integers(2, 5), st.integers(8, 60), st.integers(0, 10**6), st.booleans())
@settings(max_examples=40)
def test_scores_of_a_resample_are_those_of_the_messages_that_it_holds(labels, messages, seed, all):
    judged = outcome(messages, labels, seed)
    weights = np.ones(messages)
    if not all:
        weights = np.random.default_rng(seed).integers(3, size=messages)
        weights[:labels] = np.maximum(weights[:labels], 1)  # no label is left out
    chosen = np.repeat(np.arange(messages), weights.astype(int))
    drawn = Outcome(
        [judged.truth[index] for index in chosen],
        [judged.predicted[index] for index in chosen],
        judged.labels,
        judged.positive_label,
        judged.scores[chosen],
        judged.probabilities[chosen],
    )
    expected = compute_metrics(drawn)
    found = Resamples(judged, weights[None].astype(float))
    for metric in METRICS.values():
        (value,) = metric.of_resamples(found)
        assert value == pytest.approx(expected[metric], abs=1e-12), metric.key
    for index, scores in enumerate(expected.labels.values()):
        for name in ("precision", "recall", "f1"):
            assert getattr(found, name)[0, index] == pytest.approx(getattr(scores, name), abs=1e-12)


def test_a_resample_has_as_many_messages_of_each_label_and_the_same_seed_the_same_draws():
    judged = outcome(300, 2, 1)
    first, again = resample(judged, 50), resample(judged, 50)
    other = resample(judged, 50, seed=4)
    # Drawn within labels: accuracy is the recalls' mean in the proportion of the labels.
    shares = [np.mean(np.array(judged.truth) == name) for name in judged.labels]
    recalls = [first.labels[name].recall for name in judged.labels]
    assert first.values["accuracy"] == pytest.approx(sum(map(np.multiply, shares, recalls)))
    assert (first.values["loss"] == again.values["loss"]).all()
    assert (first.values["loss"] != other.values["loss"]).any()


def test_an_interval_of_accuracy_is_as_wide_as_theory_says():
    judged = outcome(2000, 2, 3)
    low, high = intervals(compute_metrics(judged), resample(judged))[ACCURACY]
    exact = binomtest(int(judged.correct.sum()), 2000).proportion_ci()
    assert low == pytest.approx(exact.low, abs=0.004)
    assert high == pytest.approx(exact.high, abs=0.004)


def test_intervals_hold_the_truth_about_as_often_as_they_claim():
    whole = compute_metrics(outcome(200_000, 2, 1, digits=4))
    metrics = (BALANCED_ACCURACY, RECALL, F1, MCC, ROC_AUC, AVERAGE_PRECISION, LOSS)
    hits = dict.fromkeys(metrics, 0)
    for seed in range(50):
        judged = outcome(400, 2, 100 + seed, digits=4)
        found = intervals(compute_metrics(judged), resample(judged, 100))
        for metric in metrics:
            low, high = found[metric]
            hits[metric] += low <= whole[metric] <= high
    for metric, count in hits.items():
        assert 42 <= count <= 50, metric.key


@pytest.mark.parametrize("labels", [2, 4])
def test_every_interval_is_around_its_score(labels):
    judged = outcome(400, labels, 5, skill=2)
    measured = compute_metrics(judged)
    found = intervals(measured, resample(judged))
    for metric in METRICS.values():
        low, high = found[metric]
        assert low <= measured[metric] <= high, metric.key
        assert 0 < high - low < 0.5, metric.key
    for label, around in found.labels.items():
        for name in ("precision", "recall", "f1"):
            low, high = getattr(around, name)
            assert low <= getattr(measured.labels[label], name) <= high
    assert found.resamples == 1000


def test_a_thousand_resamples_of_a_thousand_messages_take_a_moment():
    judged = outcome(1000, 2, 5, digits=9)
    started = time.process_time()
    resample(judged)
    assert time.process_time() - started < 3


def test_without_probabilities_or_all_labels_there_is_no_interval_for_what_needs_them():
    judged = outcome(60, 2, 2)
    linear = Outcome(
        judged.truth, judged.predicted, judged.labels, judged.positive_label, judged.scores
    )
    found = intervals(compute_metrics(linear), resample(linear))
    assert found[LOSS] is found[BRIER] is found[ECE] is None
    assert found[ROC_AUC] is not None
    one = Outcome(["label 0"] * 60, judged.predicted, judged.labels, "label 1", judged.scores)
    measured = compute_metrics(one)
    found = intervals(measured, resample(one))
    assert measured[ROC_AUC] is found[ROC_AUC] is found[AVERAGE_PRECISION] is None
    assert measured[RECALL] == 0
    assert measured[BALANCED_ACCURACY] == measured[ACCURACY]


def test_paired_differences_are_surer_than_the_scores_they_are_of():
    judged = outcome(500, 2, 8)
    predicted = list(judged.predicted)
    for index in range(0, 500, 50):  # the same but for ten messages that it gets wrong
        predicted[index] = next(n for n in judged.labels if n != judged.truth[index])
    worse = Outcome(judged.truth, predicted, judged.labels, judged.positive_label, judged.scores)
    ours, theirs = compute_metrics(judged), compute_metrics(worse)
    found = differences(ours, resample(judged), theirs, resample(worse))
    low, high = found["accuracy"].interval
    assert found["accuracy"].value == ours[ACCURACY] - theirs[ACCURACY] > 0
    assert 0 <= low <= found["accuracy"].value <= high < 0.03
    assert found["roc_auc"] == Difference(0, (0, 0))
    assert "loss" not in found  # the other has no probabilities


def test_a_share_of_none_or_all_is_not_said_to_be_certain():
    low, high = wilson_interval(0, 100)
    assert low == 0
    assert high == pytest.approx(0.0370, abs=5e-4)
    assert wilson_interval(100, 100)[0] == pytest.approx(0.9630, abs=5e-4)
    assert wilson_interval(0, 0) is None
    for count, of in ((1, 60), (3, 7), (500, 1000)):
        expected = binomtest(count, of).proportion_ci(0.95, method="wilson")
        assert wilson_interval(count, of) == pytest.approx((expected.low, expected.high))


def test_mcnemar_counts_the_messages_that_only_one_got_right():
    first = np.array([True] * 90 + [True] * 8 + [False] * 1 + [False] * 5)
    second = np.array([True] * 90 + [False] * 8 + [True] * 1 + [False] * 5)
    found = mcnemar(first, second)
    # Nine heads or tails of which one or none, or eight or nine, are heads: 20 / 512.
    assert found == McNemar(8, 1, pytest.approx(20 / 512))
    assert found.significant
    assert mcnemar(first, first) == McNemar(0, 0, 1)


def test_the_interval_of_a_difference_may_leave_out_0_where_the_test_calls_it_chance():
    # Five messages that only the first got right: 2 / 2**5 as often as that by chance.
    judged = outcome(400, 2, 5, skill=9)
    predicted = list(judged.truth)
    for index in range(0, 50, 10):
        predicted[index] = next(n for n in judged.labels if n != judged.truth[index])
    perfect, worse = (
        Outcome(judged.truth, answers, judged.labels, judged.positive_label, judged.scores)
        for answers in (judged.truth, predicted)
    )
    found = differences(
        compute_metrics(perfect), resample(perfect), compute_metrics(worse), resample(worse)
    )
    assert found["accuracy"].interval[0] > 0
    test = mcnemar(perfect.correct, worse.correct)
    assert test == McNemar(5, 0, pytest.approx(0.0625))
    assert not test.significant


def test_scores_agree_with_scikit_learn():
    judged = outcome(300, 2, 9)
    found = compute_metrics(judged)
    truth = np.array(judged.truth) == judged.positive_label
    said = np.array(judged.predicted) == judged.positive_label
    spam = judged.probabilities[:, 1]
    assert found[BALANCED_ACCURACY] == pytest.approx(metrics.balanced_accuracy_score(truth, said))
    assert found[MACRO_F1] == pytest.approx(metrics.f1_score(truth, said, average="macro"))
    assert found[MCC] == pytest.approx(metrics.matthews_corrcoef(truth, said))
    assert found[AVERAGE_PRECISION] == pytest.approx(metrics.average_precision_score(truth, spam))
    assert found[BRIER] == pytest.approx(metrics.brier_score_loss(truth, spam))
    many = outcome(300, 4, 9)
    found = compute_metrics(many)
    assert found[ROC_AUC] == pytest.approx(
        metrics.roc_auc_score(many.truth, many.probabilities, multi_class="ovr")
    )
    assert found[BRIER] == pytest.approx(
        metrics.brier_score_loss(many.truth, many.probabilities, labels=list(many.labels))
    )


def test_noise_that_only_adds_to_a_calibration_error_does_not_move_its_interval():
    draw = np.random.default_rng(3)
    spam = draw.random(400)
    truth = draw.random(400) < spam  # probabilities are what they say: all of the error is noise
    names = ["ham", "spam"]
    judged = Outcome(
        [names[int(is_spam)] for is_spam in truth],
        [names[int(p >= 0.5)] for p in spam],
        names,
        "spam",
        np.stack([1 - spam, spam], axis=1),
        np.stack([1 - spam, spam], axis=1),
    )
    measured, drawn = compute_metrics(judged), resample(judged)
    low, high = intervals(measured, drawn)[ECE]
    assert 0 <= low < measured[ECE] < high
    assert drawn.values["ece"].mean() > measured[ECE] * 1.2
    assert (low + high) / 2 == pytest.approx(measured[ECE], rel=0.15)
