import subprocess
import sys

import numpy as np
import pytest
import torch

from spamgpt.classifier.config import ClassifierConfig
from spamgpt.evaluation.decision import fit_decision
from spamgpt.evaluation.goals import threshold_in_words


def some(labels: int, messages: int = 400, seed: int = 0) -> tuple[torch.Tensor, np.ndarray]:
    """Logits three times as sure of themselves as they should be, and the truth."""
    random = np.random.default_rng(seed)
    logits = torch.from_numpy(random.normal(scale=2, size=(messages, labels)))
    probabilities = logits.softmax(dim=1).numpy()
    truth = np.array([random.choice(labels, p=row) for row in probabilities])
    return (3 * logits).float(), truth


def config(*labels: str) -> ClassifierConfig:
    return ClassifierConfig(list(labels), labels[-1], 0.5, "last-block")


def test_overconfident_logits_are_cooled_and_the_threshold_is_half_of_the_f1_to_be_expected():
    logits, truth = some(2)
    fitted = fit_decision(config("ham", "spam"), logits, truth, "f1")
    assert fitted.config.temperature == pytest.approx(3, rel=0.2)
    assert fitted.record["ece"] < fitted.record["ece_before"]
    # Of calibrated probabilities the best threshold is half of the best F1 (Lipton et al. 2014).
    assert fitted.config.threshold == pytest.approx(fitted.record["f1"] / 2, abs=0.05)
    decided = np.array(fitted.config.decide(fitted.config.probabilities(logits))) == "spam"
    assert fitted.scores["accuracy"] == (decided == truth).mean()
    assert fitted.record["recall"] == decided[truth == 1].mean()
    assert fitted.record["false_positive_rate"] == decided[truth == 0].mean()


@pytest.mark.parametrize("share", [0.0, 0.01, 0.2])
def test_no_more_ham_is_lost_than_allowed(share):
    logits, truth = some(2, seed=1)
    fitted = fit_decision(config("ham", "spam"), logits, truth, "false-positive-rate", f"{share:%}")
    decided = np.array(fitted.config.decide(fitted.config.probabilities(logits))) == "spam"
    assert decided[truth == 0].mean() <= share
    assert fitted.record["false_positives"] == decided[truth == 0].sum()
    assert fitted.record["others"] == (truth == 0).sum()


def test_at_most_one_ham_in_a_hundred_is_lost_unless_told_otherwise():
    logits, truth = some(2, messages=2_000, seed=1)
    fitted = fit_decision(config("ham", "spam"), logits, truth)
    decided = np.array(fitted.config.decide(fitted.config.probabilities(logits))) == "spam"
    assert 0.005 < decided[truth == 0].mean() <= 0.01
    assert fitted.record["threshold_for"] == "false-positive-rate"
    assert "for at most 1% of ham lost: catches" in threshold_in_words(fitted.record)


def test_sixty_ham_allow_none_to_be_lost_and_the_sentence_says_so_and_how_sure_that_is():
    ham, spam = np.linspace(-6, 2, 60), np.linspace(-1, 6, 40)
    logits = torch.tensor(np.concatenate([ham, spam]))[:, None] * torch.tensor([[-0.5, 0.5]])
    truth = np.array([0] * 60 + [1] * 40)
    fitted = fit_decision(config("ham", "spam"), logits, truth)
    probabilities = fitted.config.probabilities(logits)[:, 1]
    assert probabilities[:60].max() < fitted.config.threshold <= probabilities[truth == 1].max()
    assert fitted.record["recall"] == (spam > 2).mean()
    assert threshold_in_words(fitted.record) == (
        "for at most 1% of ham lost: catches 57.50% of spam, loses 0 of 60 ham (95% interval 0.0% "
        "to 6.0%; 1% of 60 is less than one message, so none may be lost)"
    )


def test_for_accuracy_a_message_gets_its_more_probable_label():
    logits, truth = some(2, seed=1)
    fitted = fit_decision(config("ham", "spam"), logits, truth, "accuracy")
    assert fitted.config.threshold == 0.5
    assert fitted.config.decide(fitted.config.probabilities(logits)) == [
        ["ham", "spam"][index] for index in logits.argmax(dim=1)
    ]
    assert fitted.record["recall"] == (logits.argmax(dim=1).numpy() == 1)[truth == 1].mean()
    assert threshold_in_words(fitted.record).startswith("for accuracy: catches")


def test_more_labels_have_a_temperature_and_no_threshold():
    logits, truth = some(3, messages=4_000)
    fitted = fit_decision(config("a", "b", "c"), logits, truth)
    assert fitted.config.temperature == pytest.approx(3, rel=0.2)
    assert "threshold" not in fitted.record
    assert fitted.scores.keys() == {"accuracy", "loss", "ece"}
    expected = torch.nn.functional.cross_entropy(
        logits.double() / fitted.config.temperature, torch.from_numpy(truth)
    )
    assert fitted.scores["loss"] == pytest.approx(expected.item())


def test_fitting_imports_no_scikit_learn():
    code = """
import sys, numpy as np, torch
from spamgpt.classifier.config import ClassifierConfig
from spamgpt.evaluation.decision import fit_decision
config = ClassifierConfig(["ham", "spam"], "spam", 0.5, "all")
logits = torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 0.0], [0.5, 0.6]])
print(sorted(fit_decision(config, logits, np.array([0, 1, 0, 1])).scores))
assert "sklearn" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['accuracy', 'ece', 'f1', 'loss', 'recall']"
