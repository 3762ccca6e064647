import pandas as pd
import pytest

from spamgpt.data.corrected import correct, replayed
from spamgpt.data.corrections import Correction
from spamgpt.data.rows import SPLITS
from spamgpt.data.splits import Shares


@pytest.fixture
def parts() -> dict[str, pd.DataFrame]:
    def part(name: str, count: int) -> pd.DataFrame:
        rows = [{"label": "ham", "text": f"{name} {n}", "source": "inbox"} for n in range(count)]
        return pd.DataFrame(rows, dtype="str")

    return {"train": part("train", 6), "validation": part("validation", 2), "test": part("test", 2)}


def texts(part: pd.DataFrame) -> list[str]:
    return list(part["text"])


def test_new_messages_are_added_to_training_alone(parts):
    found = correct(parts, [Correction("new", "spam")])
    assert (found.relabelled, found.added) == (0, 1)
    assert texts(found.parts["train"]) == [*texts(parts["train"]), "new"]
    last = found.parts["train"].iloc[-1]
    assert dict(last) == {
        "label": "spam", "text": "new", "source": "corrections", "corrected": "yes"
    }  # fmt: skip
    for name in ("validation", "test"):
        assert texts(found.parts[name]) == texts(parts[name])
    assert "corrected" not in parts["train"]


def test_a_message_of_the_data_set_is_relabelled_in_its_place_and_never_leaks(parts):
    corrections = [
        Correction("TEST  1", "spam"),  # the same message in other letters
        Correction("validation 0", "ham"),  # as it was
        Correction("train 2", "spam"),
    ]
    found = correct(parts, corrections)
    assert (found.relabelled, found.added) == (2, 0)
    for name in SPLITS:
        assert texts(found.parts[name]) == texts(parts[name])
    assert list(found.parts["test"]["label"]) == ["ham", "spam"]
    assert list(found.parts["test"]["corrected"]) == ["", "yes"]
    assert list(found.parts["validation"]["corrected"]) == ["yes", ""]
    assert list(found.parts["train"]["label"]).index("spam") == 2


def test_by_shares_corrections_are_in_all_splits_and_stay_where_they_are(parts):
    corrections = [Correction(f"message {number}", "spam") for number in range(400)]
    few = correct(parts, corrections[:200], Shares(70, 10, 20)).parts
    many = correct(parts, corrections, Shares(70, 10, 20)).parts
    for name, share in (("train", 0.7), ("validation", 0.1), ("test", 0.2)):
        assert set(texts(few[name])) <= set(texts(many[name]))
        assert len(many[name]) / 410 == pytest.approx(share, abs=0.05)


def test_all_corrected_messages_and_some_others_are_replayed(parts):
    corrections = [Correction("train 2", "spam"), Correction("new", "spam")]
    train = correct(parts, corrections).parts["train"]
    some = replayed(train, 3, seed=1)
    assert len(some) == 5
    assert {"train 2", "new"} <= set(some["text"])
    pd.testing.assert_frame_equal(some, replayed(train, 3, seed=1))
    drawn = {frozenset(replayed(train, 3, seed=seed)["text"]) for seed in range(5)}
    assert len(drawn) > 1
    assert set(replayed(train, 0, seed=1)["text"]) == {"train 2", "new"}
    assert replayed(train, 5, seed=1) is train
    assert len(replayed(parts["train"], 4, seed=1)) == 4
