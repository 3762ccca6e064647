"""The benchmark of sources left out: what is left out together, paired, chosen and told."""

import random

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from benchmarks.generalization import (
    BOTH,
    LOGISTIC,
    MODELS,
    calibration_of_all,
    of_source,
    results,
    summary,
    table,
)
from recipes.disguise import disguised
from recipes.labelled import folds, sample, sources
from recipes.many_sources import LOST_AT_MOST, LOST_IN_THE_MEDIAN, decision


def left_out(source: str, seed: int, labels: tuple[str, ...] = ("ham", "spam")) -> pd.DataFrame:
    """Log-odds of messages of a source, 30 of each label, and of 20 ham SMS of another."""
    draw = np.random.default_rng(seed)
    parts = [
        (source, label, odds, False)
        for label in labels
        for odds in draw.normal(2 if label == "spam" else -2, 2, 30)
    ]
    parts += [("bank_sms", "ham", odds, True) for odds in draw.normal(-2, 2, 20)]
    scores = pd.DataFrame(parts, columns=["source", "label", BOTH, "paired"])
    for model in MODELS:
        if model != BOTH:
            scores[model] = scores[BOTH] + draw.normal(0, 2, len(scores))
    return scores


def test_every_source_is_left_out_once_and_with_all_that_is_alike_in_origin():
    known = sources()
    dealt = list(folds(10))
    scored = sorted(name for name, source in known.items() if source.scored)
    assert sorted(name for fold in dealt for name in fold) == scored
    for fold in dealt:
        origins = {known[name].origin for name in fold}
        assert fold == {name for name, source in known.items() if source.origin in origins}


def test_of_what_companies_send_all_but_one_origin_is_learnt_from():
    for fold in folds(10):
        left_out = {sources()[name].origin for name in fold}
        assert len(left_out & {"notices", "newsletters", "templates"}) < 2


def test_no_source_and_label_has_more_messages_than_the_others_are_allowed():
    messages = pd.DataFrame(
        {"source": ["a"] * 50 + ["b"] * 3, "label": ["ham", "spam"] * 25 + ["ham"] * 3, "text": "x"}
    )
    chosen = sample(messages, 10, seed=1)
    assert chosen.groupby(["source", "label"]).size().to_dict() == {
        ("a", "ham"): 10,
        ("a", "spam"): 10,
        ("b", "ham"): 3,
    }
    pd.testing.assert_frame_equal(chosen, sample(messages, 10, seed=1))


def test_a_source_of_one_label_is_paired_with_messages_of_its_kind_from_elsewhere():
    own, paired = of_source(left_out("thai_sms", 1), "thai_sms")
    assert not paired
    assert set(own["source"]) == {"thai_sms"}
    lone, paired = of_source(left_out("philippines_sms", 1, ("spam",)), "philippines_sms")
    assert paired
    assert lone.groupby(["source", "label"]).size().to_dict() == {
        ("bank_sms", "ham"): 20,
        ("philippines_sms", "spam"): 30,
    }


def test_the_threshold_protects_the_ham_of_sources_left_out():
    parts = [left_out(name, seed) for seed, name in enumerate("abcdefghijkl")]
    parts[0][BOTH] += 10 * (parts[0]["label"] == "ham")  # unlike all others
    scores = pd.concat(parts, ignore_index=True)
    own = scores[~scores["paired"]]
    temperature, threshold = decision(own, BOTH)
    called = 1 / (1 + np.exp(-own[BOTH] / temperature)) > threshold
    lost = called[own["label"] == "ham"].groupby(own["source"]).mean()
    assert lost.median() <= LOST_IN_THE_MEDIAN
    assert lost.max() <= LOST_AT_MOST
    assert temperature > 0


def test_what_it_is_not_for_decides_nothing():
    parts = (left_out("thai_sms", 1), left_out("scam_dialogues_synthetic", 2))
    own, calls = (scores[~scores["paired"]] for scores in parts)
    with_calls = pd.concat([own, calls.assign(**{BOTH: calls[BOTH] + 100})])
    assert decision(with_calls, BOTH) == decision(own, BOTH)


def test_the_table_has_the_figures_of_every_source_and_their_means():
    by_fold = {0: left_out("thai_sms", 1), 1: left_out("turkish_sms", 2)}
    found = results(by_fold)
    first = by_fold[0][~by_fold[0]["paired"]]
    row = found[found["left out"] == "thai_sms"].iloc[0]
    assert row["messages"] == 60
    assert row[f"AUC, {BOTH}"] == roc_auc_score(first["label"] == "spam", first[BOTH])
    assert row["AUC, better linear"] >= row[f"AUC, {LOGISTIC}"]
    lines = table(found, [f"AUC, {BOTH}"]).splitlines()
    assert len(lines) == 2 + 2 + 1 + 1
    assert lines[-1] == f"| **mean** |  | 120 | {found[f'AUC, {BOTH}'].mean():.3f} |"
    ahead = found[f"AUC, {BOTH}"] - found["AUC, better linear"]
    assert f"{ahead.mean():+.3f} in the mean" in summary(by_fold, found)


def test_probabilities_may_hold_over_all_sources_where_they_do_not_over_each():
    by_fold = {0: left_out("thai_sms", 1), 1: left_out("turkish_sms", 2)}
    for fold, more in ((0, 2), (1, -2)):
        by_fold[fold][BOTH] += more
    together, alone = calibration_of_all(by_fold), results(by_fold)["calibration error"].mean()
    assert together < alone
    assert f"{together:.3f} over all sources" in summary(by_fold, results(by_fold))


@pytest.mark.parametrize("seed", range(12))
def test_a_disguise_can_be_repeated_and_keeps_the_length_of_the_words(seed):
    text = "Congratulations, you have been chosen to receive a wonderful prize today"
    once, again = (disguised(text, random.Random(seed)) for _ in range(2))
    assert once == again != text
    assert len(once) >= len(text)
