from dataclasses import replace

import numpy as np
import pytest

from spamgpt.classifier.config import ClassifierConfig
from spamgpt.classifier.formats.agreement import Agreement


def test_agreement_counts_labels_by_the_threshold():
    config = ClassifierConfig(["ham", "spam"], "spam", 0.7, "all")
    one, other = np.array([[0.35, 0.65], [0.1, 0.9]]), np.array([[0.25, 0.75], [0.1, 0.9]])
    found = Agreement.between(config, one, other)
    assert (found.messages, found.same_label) == (2, 0.5)
    assert found.largest_difference == pytest.approx(0.1)
    assert found.mean_difference == pytest.approx(0.05)
    assert Agreement.between(replace(config, threshold=0.5), one, other).same_label == 1.0
