import numpy as np
import pytest

from spamgpt import SpamClassifier
from spamgpt.classifier import predictor
from spamgpt.classifier.predictor import UNSURE, Prediction, Predictor
from spamgpt.errors import UsageError

SPAM, HAM = "WIN a FREE prize now!!", "see you later"


@pytest.fixture(scope="module")
def classifier(trained_workspace_template) -> SpamClassifier:
    return SpamClassifier.from_pretrained(trained_workspace_template, device="cpu")


def test_texts_get_typed_answers_in_order(classifier):
    spam, ham, long = Predictor(classifier).predict([SPAM, HAM, "x" * 70])
    probabilities = classifier.predict_proba([SPAM])[0]
    assert spam == Prediction(
        SPAM,
        "spam",
        {"ham": pytest.approx(probabilities[0]), "spam": pytest.approx(probabilities[1])},
        pytest.approx(probabilities[1]),
        windows=1,
    )
    assert (ham.text, ham.label, ham.probability) == (HAM, "ham", ham.probabilities["ham"])
    assert long.windows == 2
    assert Predictor(classifier).predict([]) == []


def test_the_threshold_replaces_that_of_the_classifier(classifier):
    assert Predictor(classifier).threshold == classifier.config.threshold
    (answer,) = Predictor(classifier, threshold=1.0).predict([SPAM])
    assert (answer.label, answer.probability) == ("ham", answer.probabilities["ham"])


def test_unsure_is_given_between_the_limits(classifier):
    (sure,) = Predictor(classifier).predict([SPAM])
    of_spam = sure.probability
    for limits, label in [
        ((0, 1), UNSURE),
        ((of_spam, 1), "ham"),
        ((0, of_spam), "spam"),
        ((0.1, of_spam - 0.01), "spam"),
    ]:
        asked = Predictor(classifier, unsure=limits)
        (answer,) = asked.predict([SPAM])
        assert answer.label == label
        assert asked.labels == ["ham", "spam", UNSURE]
    (answer,) = Predictor(classifier, unsure=(0, 1), explain=True).predict([HAM])
    assert answer.probability == answer.probabilities["spam"]
    assert answer.explanation == classifier.explain(HAM, "spam")


def test_an_explanation_is_that_of_the_label_given(classifier):
    (answer,) = Predictor(classifier, explain=True).predict([HAM])
    assert answer.explanation == classifier.explain(HAM, "ham")
    assert Predictor(classifier).predict([HAM])[0].explanation is None


def test_a_text_that_came_before_is_not_computed_again(classifier, monkeypatch):
    computed: list[str] = []
    predictions = SpamClassifier.predictions

    def listening(classifier, texts, *others):
        computed.extend(texts)
        return predictions(classifier, texts, *others)

    monkeypatch.setattr(SpamClassifier, "predictions", listening)
    monkeypatch.setattr(predictor, "MOST_REMEMBERED", 3)
    asked = Predictor(classifier)
    first = asked.predict(["a", "b", "a"])
    again = asked.predict(["b", "c", "a", "d"])
    asked.predict(["a", "d"])
    assert computed == ["a", "b", "c", "d", "a"]
    assert first[1] == again[0]
    monkeypatch.undo()
    expected = classifier.predict_proba(["b", "c", "a", "d"])
    found = [list(answer.probabilities.values()) for answer in again]
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("limits", "told"),
    [
        ({"unsure": (0.8, 0.2)}, "`unsure` is 0.8 0.2"),
        ({"unsure": (0.5, 1.5)}, "not a range of probabilities"),
        ({"unsure": (0.2, 0.8), "threshold": 0.5}, "cannot be combined"),
        ({"threshold": 1.5}, "`threshold` of 1.5"),
    ],
)
def test_limits_that_do_not_fit_are_told_by_the_names_of_the_settings(classifier, limits, told):
    with pytest.raises(UsageError, match=told) as caught:
        Predictor(classifier, **limits)
    assert "--" not in caught.value.message + caught.value.hint


def test_limits_are_for_two_labels(classifier, monkeypatch):
    monkeypatch.setattr(SpamClassifier, "labels", ["a", "b", "c"])
    for limits in ({"threshold": 0.3}, {"unsure": (0.1, 0.9)}):
        with pytest.raises(UsageError, match="is for two labels; this classifier has a, b, c"):
            Predictor(classifier, **limits)
    monkeypatch.setattr(SpamClassifier, "labels", ["ham", UNSURE])
    with pytest.raises(UsageError, match="label 'unsure' already"):
        Predictor(classifier, unsure=(0.1, 0.9))


def test_one_string_is_not_taken_for_a_list_of_letters(classifier):
    with pytest.raises(TypeError, match="a list of messages"):
        Predictor(classifier).predict("see you")
