import random

import pytest

from spamgpt.evaluation.label_errors import find_label_errors


def greetings(count: int) -> tuple[list[str], list[str]]:
    draw = random.Random(3)
    parts = {
        "spam": (["win a free", "claim your free"], ["prize now", "gift, call"]),
        "ham": (["see you", "i am"], ["at home", "later then"]),
    }
    labels = ["spam" if number % 3 == 0 else "ham" for number in range(count)]
    texts = [" ".join(draw.choice(part) for part in parts[label]) for label in labels]
    return [f"{text} {number}" for number, text in enumerate(texts)], labels


def test_labels_that_were_swapped_are_found_first():
    texts, labels = greetings(150)
    swapped = [4, 30, 77, 101]
    for row in swapped:
        labels[row] = "ham" if labels[row] == "spam" else "spam"
    found = find_label_errors(texts, labels)
    assert {suspect.text for suspect in found[:4]} == {texts[row] for row in swapped}
    for suspect in found[:4]:
        assert suspect.given == labels[texts.index(suspect.text)]
        assert suspect.suggested != suspect.given
        assert suspect.probability_of_suggested > suspect.probability_of_given


def test_labels_that_are_right_are_not_doubted():
    assert find_label_errors(*greetings(150)) == []


def test_the_same_messages_give_the_same_answer():
    texts, labels = greetings(60)
    labels[7] = "spam" if labels[7] == "ham" else "ham"
    assert find_label_errors(texts, labels) == find_label_errors(texts, labels)


@pytest.mark.parametrize("labels", [["ham", "ham", "spam"], ["ham", "ham", "ham"]])
def test_too_few_messages_of_a_label_are_refused(labels):
    with pytest.raises(ValueError, match="every label needs two messages"):
        find_label_errors(["a", "b", "c"], labels)
