import json

import pytest

from spamgpt.errors import BadDataError, UsageError
from spamgpt.training.hyperparameters import (
    PUBLISHED_RECIPE,
    read_recommendations,
    with_recommendations,
)


def read(tmp_path, content: object, unfreeze: str = "last-block") -> dict:
    path = tmp_path / "finetuning.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return read_recommendations(path, unfreeze)


def test_what_is_given_comes_before_what_is_recommended_and_that_before_the_published():
    chosen = with_recommendations(
        {"epochs": 2, "batch_size": None, "select": "best"},
        {"epochs": 9, "batch_size": 16, "learning_rate": 1},
        seed=7,
        keep_best=True,
    )
    assert (chosen.epochs, chosen.batch_size, chosen.learning_rate) == (2, 16, 1.0)
    assert isinstance(chosen.learning_rate, float)
    assert (chosen.weight_decay, chosen.schedule) == (0.1, PUBLISHED_RECIPE["schedule"])
    assert (chosen.seed, chosen.keep_best) == (7, True)


def test_a_policy_of_more_blocks_takes_what_is_recommended_for_the_last(tmp_path):
    content = {"last-block": {"epochs": 3}, "all": {"epochs": 1}}
    assert read(tmp_path, content, "last-4-blocks") == {"epochs": 3}
    assert read(tmp_path, content, "all") == {"epochs": 1}
    assert read(tmp_path, content, "head") == {}


def test_adapters_take_what_is_recommended_for_them_or_for_the_blocks(tmp_path):
    (tmp_path / "finetuning.json").write_text('{"all": {"epochs": 1}, "lora": {"epochs": 4}}')
    path = tmp_path / "finetuning.json"
    assert read_recommendations(path, "all", lora=True) == {"epochs": 4}
    assert read_recommendations(path, "last-block", lora=True) == {"epochs": 4}
    assert read_recommendations(path, "all") == {"epochs": 1}
    path.write_text('{"all": {"epochs": 1}}')
    assert read_recommendations(path, "all", lora=True) == {"epochs": 1}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0),
        ("epochs", 2.5),
        ("epochs", 5.0),
        ("epochs", True),
        ("epochs", "5"),
        ("epochs", None),
        ("batch_size", 0.5),
        ("batch_size", -1),
        ("batch_size", 10**12),
        ("learning_rate", -1e-5),
        ("learning_rate", float("nan")),
        ("learning_rate", float("inf")),
        ("learning_rate", "fast"),
        ("weight_decay", [0.1]),
        ("weight_decay", False),
        ("schedule", "steep"),
        ("schedule", 1),
        ("schedule", ["linear"]),
        ("warmup", 1.5),
        ("warmup", "6%"),
        ("accumulate", 0),
        ("accumulate", 2.0),
        ("class_weights", "even"),
        ("class_weights", True),
        ("clip", -1),
        ("dropout", 1),
        ("dropout", -0.1),
        ("dropout", "a little"),
        ("label_smoothing", 1.0),
        ("patience", -1),
        ("patience", 1.5),
    ],
)
def test_a_value_that_cannot_be_is_named_with_what_it_has_to_be(tmp_path, name, value):
    # Also where it is for another policy than the one that is trained.
    with pytest.raises(BadDataError, match=rf"finetuning\.json: {name} of 'all' is") as caught:
        read(tmp_path, {"last-block": {"epochs": 3}, "all": {name: value}})
    assert "it has to be" in caught.value.message
    assert "Write, for example" in caught.value.hint
    if value is not None:
        with pytest.raises(UsageError, match=f"`{name}` is"):
            with_recommendations({name: value}, {}, seed=1, keep_best=True)


@pytest.mark.parametrize(
    "content",
    ["{", "[1]", {"last-block": 5}, {"last_block": {}}, {"last-block": {"speed": 1}}, "\x00"],
)
def test_a_file_of_another_shape_is_refused(tmp_path, content):
    with pytest.raises(BadDataError, match=r"finetuning\.json: "):
        read(tmp_path, content)


def test_what_is_new_is_off_unless_given_or_recommended():
    chosen = with_recommendations({"epochs": 3}, {"clip": 1, "dropout": 0.1}, 7, keep_best=True)
    assert (chosen.clip, chosen.dropout) == (1.0, 0.1)
    assert (chosen.accumulate, chosen.class_weights, chosen.patience) == (1, "none", 0)
    assert (chosen.label_smoothing, chosen.warmup) == (0.0, 0.0)
    off = with_recommendations({"clip": 0.0, "dropout": 0}, {"clip": 1, "dropout": 0.1}, 7, True)
    assert (off.clip, off.dropout) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("schedule", "given", "warmup"),
    [("constant", None, 0), ("linear", None, 0.06), ("cosine", None, 0.06), ("linear", 0, 0)],
)
def test_the_warm_up_is_that_of_the_schedule_unless_given(schedule, given, warmup):
    chosen = with_recommendations({"schedule": schedule, "warmup": given}, {}, 1, keep_best=True)
    assert chosen.warmup == warmup


def test_the_sentence_tells_what_is_not_usual():
    given = {"schedule": "cosine", "warmup": 0, "accumulate": 4, "class_weights": "balanced"}
    given |= {"clip": 1, "dropout": 0.1, "label_smoothing": 0.05, "patience": 2}
    assert str(with_recommendations(given, {}, seed=1, keep_best=True)) == (
        "for 5 epochs in batches of 8, 4 to a step, at a learning rate of 5e-05, with cosine decay "
        "to 0; balanced class weights; gradients clipped to 1; dropout 0.1; label smoothing 0.05; "
        "patience 2"
    )


def test_the_sentence_tells_how_it_is_trained():
    chosen = with_recommendations({"schedule": "linear"}, {}, seed=1, keep_best=True)
    assert str(chosen) == (
        "for 5 epochs in batches of 8 at a learning rate of 5e-05, with warm-up and linear decay "
        "to 0"
    )


def test_a_model_can_recommend_n_grams(tmp_path):
    path = tmp_path / "finetuning.json"
    path.write_text('{"all": {"ngrams": true}}')
    recommended = read_recommendations(path, "all")
    assert with_recommendations({}, recommended, 1, True).ngrams
    assert not with_recommendations({"ngrams": False}, recommended, 1, True).ngrams
    assert not with_recommendations({}, read_recommendations(path, "head"), 1, True).ngrams
    path.write_text('{"all": {"ngrams": 1}}')
    with pytest.raises(BadDataError, match="ngrams of 'all' is 1; it has to be true or false"):
        read_recommendations(path, "all")
