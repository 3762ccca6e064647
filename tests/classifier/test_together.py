"""A classifier in several processes: each message is answered once, as one process answers it."""

import os
import signal
import time
from functools import partial

import numpy as np
import pytest

from spamgpt.classifier import quick
from spamgpt.classifier.finding import find_classifier, find_quick_classifier
from spamgpt.classifier.quick import QuickClassifier
from spamgpt.classifier.together import Together
from spamgpt.workspace import Workspace
from tests.classifier.test_apart import die, load
from tests.conftest import some_messages

TEXTS = [text for _, text in some_messages(60)]


@pytest.fixture(scope="module")
def together(trained_workspace_template):
    here = partial(load, trained_workspace_template)
    classifier = Together(here(), here, processes=3)
    deadline = time.monotonic() + 60
    while len(classifier._others) < 2 and time.monotonic() < deadline:
        classifier.predictions(TEXTS)
    return classifier


@pytest.mark.parametrize("count", [1, 2, 3, 60])
def test_the_answers_are_those_of_one_process(together, trained_workspace_template, count):
    alone = load(trained_workspace_template).predictions(TEXTS[:count])
    found = together.predictions(TEXTS[:count])
    np.testing.assert_allclose(found.probabilities, alone.probabilities, atol=1e-6)
    assert found.windows == alone.windows


def test_what_fails_to_load_does_not_take_part(trained_workspace_template):
    here = load(trained_workspace_template)
    classifier = Together(here, die, processes=2)
    while classifier._beginning:
        np.testing.assert_array_equal(classifier.predict_proba(TEXTS), here.predict_proba(TEXTS))
    assert classifier._others == []


def test_what_dies_is_replaced(together):
    expected = together.predict_proba(TEXTS)
    os.kill(together._others[0].process.pid, signal.SIGKILL)
    np.testing.assert_array_equal(together.predict_proba(TEXTS), expected)


def test_others_help_once_so_much_has_come_that_it_pays(trained_workspace_template, monkeypatch):
    monkeypatch.setattr(quick, "_WORTH_LOADING", 1)
    workspace = Workspace(trained_workspace_template)
    expected = find_classifier(None, workspace, "cpu", "fp32")[2].predict_proba(TEXTS)
    _, _, classifier = find_quick_classifier(None, workspace, "cpu", "fp32")
    assert isinstance(classifier, QuickClassifier)
    monkeypatch.setattr("torch.get_num_threads", lambda: 2)
    for most, helped in ((1e15, False), (1, True)):
        monkeypatch.setattr(quick, "_WORTH_SHARING", most)
        np.testing.assert_allclose(classifier.predict_proba(TEXTS), expected, atol=1e-6)
        assert isinstance(classifier._loaded, Together) == helped
