import subprocess
import sys

import numpy as np
import pytest
import torch

from spamgpt.classifier.config import ClassifierConfig
from spamgpt.evaluation.decision import fit_decision


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
    fitted = fit_decision(config("ham", "spam"), logits, truth)
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
    fitted = fit_decision(config("ham", "spam"), logits, truth, f"{share:%}")
    decided = np.array(fitted.config.decide(fitted.config.probabilities(logits))) == "spam"
    assert decided[truth == 0].mean() <= share


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
