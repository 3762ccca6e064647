import json
import math
from dataclasses import replace

import numpy as np
import pytest

from spamgpt.classifier.config import ClassifierConfig, positive_label
from spamgpt.data.batches import TokenizedMessages
from spamgpt.errors import BadDataError
from spamgpt.gpt2.config import LoraConfig

VALUES = {"labels": ["ham", "spam"], "positive_label": "spam", "threshold": 0.4, "unfreeze": "all"}
LORA = {"rank": 4, "alpha": 8.0, "targets": ["attn.c_attn", "mlp.c_fc"]}


def read(tmp_path, values: object) -> ClassifierConfig:
    path = tmp_path / "config.json"
    path.write_text(values if isinstance(values, str) else json.dumps(values))
    return ClassifierConfig.from_file(path)


def test_it_is_read_as_it_was_written(tmp_path):
    plain = ClassifierConfig(["ham", "späm"], "späm", 0.25, "last-2-blocks", 1.5)
    lora = LoraConfig(4, 8.0, ("attn.c_attn", "mlp.c_fc"))
    for config in (plain, replace(plain, pooling="mean", attention="full", padding=9, lora=lora)):
        config.write(tmp_path / "config.json")
        assert ClassifierConfig.from_file(tmp_path / "config.json") == config


def test_a_file_without_a_version_is_of_the_first(tmp_path):
    config = read(tmp_path, VALUES)
    assert (config.format_version, config.pooling, config.temperature) == (1, "last", 1.0)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"margin": "none", "alpha": 1}, "unknown field alpha, margin"),
        ({"threshold": "0.5"}, "threshold is '0.5', not a number"),
        ({"threshold": True}, "threshold is True, not a number"),
        ({"threshold": float("nan")}, "threshold is nan, not a number"),
        ({"threshold": 7}, "threshold is 7, not a number from 0 to 1"),
        ({"threshold": -0.1}, "threshold is -0.1, not a number from 0 to 1"),
        ({"temperature": 0}, "temperature is 0, not a number above 0"),
        ({"labels": "ham"}, "labels is 'ham', not a list of strings"),
        ({"labels": ["ham", 1]}, "not a list of strings"),
        ({"labels": ["ham"]}, "not two or more different ones"),
        ({"labels": ["ham", "ham"]}, "not two or more different ones"),
        ({"positive_label": "junk"}, "positive_label is 'junk', not one of the labels"),
        ({"positive_label": ["spam"]}, "not one of the labels"),
        ({"unfreeze": None}, "unfreeze is None, not the name of a training policy"),
        ({"pooling": "middle"}, "pooling is 'middle', not last or first or mean"),
        ({"pooling": ["last"]}, "pooling is ['last'], not last or first"),
        ({"pooling": "last-position"}, "pooling is 'last-position', and there is no padding"),
        ({"pooling": "mean-positions", "padding": None}, "and there is no padding"),
        ({"attention": "none"}, "attention is 'none', not causal or full"),
        ({"padding": "longest"}, "padding is 'longest', not a number of tokens or null"),
        ({"padding": 0}, "padding is 0, not a number of tokens"),
        ({"padding": True}, "padding is True, not a number of tokens"),
        ({"lora": 8}, "lora is 8, not null or rank, alpha and targets"),
        ({"lora": {}}, "lora is {}, not null or rank, alpha and targets"),
        ({"lora": LORA | {"rank": 0}}, "not null or rank, alpha and targets"),
        ({"lora": LORA | {"alpha": "8"}}, "not null or rank, alpha and targets"),
        ({"lora": LORA | {"alpha": 0}}, "not null or rank, alpha and targets"),
        ({"lora": LORA | {"targets": []}}, "not null or rank, alpha and targets"),
        ({"lora": LORA | {"targets": "attn.c_attn"}}, "not null or rank, alpha and targets"),
        ({"lora": LORA | {"targets": ["c_attn"]}}, "not null or rank, alpha and targets"),
        ({"lora": LORA | {"targets": ["attn.c_attn"] * 2}}, "rank, alpha and targets"),
        ({"lora": LORA | {"targets": [["attn.c_attn"]]}}, "rank, alpha and targets"),
        ({"format_version": "1"}, "format_version is '1', not a version"),
    ],
)
def test_values_that_do_not_fit_are_refused_in_one_line(tmp_path, changed, told):
    with pytest.raises(BadDataError) as caught:
        read(tmp_path, VALUES | changed)
    assert told in caught.value.message
    assert "config.json" in caught.value.message
    assert "\n" not in caught.value.message


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(BadDataError, match="missing field positive_label, threshold"):
        read(tmp_path, {"labels": ["ham", "spam"], "unfreeze": "all"})


@pytest.mark.parametrize("text", ["{", "[]", '"text"', "[" * 100_000])
def test_what_is_no_object_is_refused(tmp_path, text):
    with pytest.raises(BadDataError, match=r"config\.json"):
        read(tmp_path, text)


def test_a_later_version_is_told_as_such(tmp_path):
    with pytest.raises(BadDataError, match="format_version 2, this spamgpt reads 1") as caught:
        read(tmp_path, VALUES | {"format_version": 2, "something": "new"})
    assert "version of spamgpt" in caught.value.hint


def log_odds(probability: float) -> float:
    return math.log(probability / (1 - probability))


def test_how_a_message_begins_counts_as_much_as_its_most_suspicious_window():
    config = ClassifierConfig(["ham", "spam"], "spam", 0.5, "all")
    of_windows = np.array([[0.9, 0.1], [0.8, 0.2], [0.6, 0.4], [0.3, 0.7], [0.2, 0.8], [0.7, 0.3]])
    combined = config.combine(of_windows, np.array([0, 1, 4, 6]))
    np.testing.assert_allclose(combined.sum(axis=1), 1)
    first, second, third = combined[:, 1]
    assert first == pytest.approx(0.1)
    assert log_odds(second) == pytest.approx((log_odds(0.2) + log_odds(0.7)) / 2)
    assert third == pytest.approx(0.8)


def test_with_more_than_two_labels_the_windows_count_alike():
    config = ClassifierConfig(["a", "b", "c"], "c", 0.5, "all")
    of_windows = np.array([[0.6, 0.2, 0.2], [0.2, 0.2, 0.6], [0.0, 1.0, 0.0]])
    combined = config.combine(of_windows, np.array([0, 2, 3]))
    np.testing.assert_allclose(combined, [[0.4, 0.2, 0.4], [0, 1, 0]])


def test_the_threshold_decides_between_two_labels():
    config = ClassifierConfig(["ham", "spam"], "spam", 0.5, "all")
    probabilities = np.array([[0.7, 0.3], [0.5, 0.5], [0.2, 0.8]])
    assert config.decide(probabilities) == ["ham", "spam", "spam"]
    assert config.decide(probabilities, threshold=0.3) == ["spam", "spam", "spam"]
    assert config.decide(probabilities, threshold=0.9) == ["ham", "ham", "ham"]


def test_of_more_labels_the_most_probable_is_given():
    config = ClassifierConfig(["a", "b", "c"], "c", 0.5, "all")
    assert config.decide(np.array([[0.3, 0.4, 0.3]])) == ["b"]


def test_spam_is_the_positive_label_where_there_is_one():
    assert positive_label(["ham", "spam"]) == "spam"
    assert positive_label(["no", "yes"]) == "yes"
    assert positive_label(["spam", "wanted"]) == "spam"


@pytest.mark.parametrize(
    ("pooling", "attention", "pads"),
    [
        ("last", "causal", False),
        ("first", "causal", False),
        ("mean", "causal", False),
        ("last-position", "causal", True),
        ("mean-positions", "causal", True),
        ("last", "full", True),
    ],
)
def test_messages_are_padded_where_the_model_can_see_it(pooling, attention, pads):
    config = ClassifierConfig(["ham", "spam"], "spam", 0.5, "all")
    messages = TokenizedMessages([[1, 2], [3, 4, 5]], [False, True])
    assert config.read(messages, 9) is messages
    padded = replace(config, pooling=pooling, attention=attention, padding=3).read(messages, 9)
    assert padded.token_ids == ([[1, 2, 9], [3, 4, 5]] if pads else messages.token_ids)
    assert padded.own_lengths == ([2, 3] if pads else None)
    assert padded.truncated == [False, True]


def test_windows_that_contradict_each_other_to_the_last_digit_still_give_a_probability():
    config = ClassifierConfig(["ham", "spam"], "spam", 0.5, "all")
    (combined,) = config.combine(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([0, 2]))
    np.testing.assert_allclose(combined, [0.5, 0.5])
