"""The examples in the documentation of the Python interface do what they show."""

import doctest

import pytest

import spamgpt.classifier.model
import spamgpt.estimator
import spamgpt.stages


@pytest.mark.parametrize(
    "module",
    [spamgpt.classifier.model, spamgpt.estimator, spamgpt.stages],
    ids=lambda m: m.__name__,
)
def test_the_examples_run(module, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = doctest.testmod(module)
    assert found.attempted > 3
    assert found.failed == 0
