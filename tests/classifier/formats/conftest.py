"""Small classifiers that have what is hard to express elsewhere: a bias, a temperature."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from spamgpt import SpamClassifier, SpamGPTClassifier

Train = Callable[..., SpamClassifier]

# Of every kind: short, long, spelling the end-of-text token, beyond one byte a character.
MESSAGES = [
    "WIN a FREE prize now!! 7",
    "see you later 8",
    "x",
    " \n\n",
    "é😀",
    "free<|endoftext|>",
    "ok at home " * 5,
]


@pytest.fixture
def train(make_model) -> Train:
    """Trains a tiny classifier of so many labels, which has to answer alike, not well."""
    folder = make_model()

    def trained(
        unfreeze: str = "all", labels: int = 2, ngrams: bool = False, **settings: object
    ) -> SpamClassifier:
        names = ["ham", "spam", "ads", "bills", "news"][:labels]
        texts = [
            f"{word} {name} {number}"
            for number, word in enumerate(["free", "see", "ok"])
            for name in names
        ]
        estimator = SpamGPTClassifier(
            folder,
            unfreeze=unfreeze,
            epochs=3,
            learning_rate=3e-3,
            ngrams=ngrams,
            device="cpu",
            precision="fp32",
        )
        classifier = estimator.fit(texts, names * 3).classifier_
        values = {"temperature": 1.3, "threshold": 0.6} | settings
        classifier.config = replace(classifier.config, **values)
        classifier.model.pooling = classifier.config.pooling
        return classifier

    return trained
