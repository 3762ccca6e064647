"""A classifier in a process of its own: the same answers, and what happens when it dies."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from multiprocessing.context import SpawnProcess
from pathlib import Path

import pytest
import torch

from spamgpt import SpamClassifier
from spamgpt.classifier.apart import ClassifierApart
from spamgpt.errors import MissingInputError, SpamgptError

TEXTS = ["WINNER! Claim your free prize now", "see you at 7 then", ""]


def load(workspace: Path) -> SpamClassifier:
    return SpamClassifier.from_pretrained(workspace, device="cpu", precision="fp32")


def load_for_two(workspace: Path) -> SpamClassifier:
    torch.set_num_threads(2)
    return load(workspace)


def die() -> SpamClassifier:
    os._exit(7)


@pytest.fixture(scope="module")
def here(trained_workspace_template: Path) -> SpamClassifier:
    return load(trained_workspace_template)


@pytest.fixture(scope="module")
def apart(trained_workspace_template: Path) -> Iterator[ClassifierApart]:
    classifier = ClassifierApart(partial(load, trained_workspace_template))
    yield classifier
    classifier.close()


def process_of(classifier: ClassifierApart) -> int:
    return classifier._processes[0].process.pid


def test_it_answers_and_explains_as_the_classifier_itself(apart, here):
    assert (apart.labels, apart.context, apart.card) == (here.labels, here.context, here.card)
    assert apart.batch_tokens == here.batch_tokens
    assert apart.config == here.config
    assert apart.tokenizer.encode(TEXTS) == here.tokenizer.encode(TEXTS)
    assert apart.predict_proba(TEXTS).tolist() == here.predict_proba(TEXTS).tolist()
    assert apart.explain(TEXTS[0]) == here.explain(TEXTS[0])


def test_errors_are_those_of_the_classifier(apart):
    with pytest.raises(SpamgptError, match="texts is one string"):
        apart.predict_proba("one string")
    assert apart.predict(TEXTS)


def test_a_process_that_dies_is_replaced_and_asked_again(apart, here):
    died = process_of(apart)
    os.kill(died, signal.SIGKILL)
    assert apart.predict(TEXTS) == here.predict(TEXTS)
    assert process_of(apart) != died


def test_what_asks_a_process_to_end_leaves_it_answering(apart, here):
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(process_of(apart), number)
    asked = process_of(apart)
    assert apart.predict(TEXTS) == here.predict(TEXTS)
    assert process_of(apart) == asked


def asked_at_once(classifier: ClassifierApart) -> dict[int, list[str]]:
    found = {}

    def ask(number: int) -> None:
        found[number] = classifier.predict([f"{number} {TEXTS[0]}"])

    threads = [threading.Thread(target=ask, args=[number]) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


@pytest.fixture(scope="module")
def expected(here) -> dict[int, list[str]]:
    return {number: here.predict([f"{number} {TEXTS[0]}"]) for number in range(20)}


def test_threads_are_answered_one_after_another(apart, expected):
    assert apart.at_once == 1
    assert asked_at_once(apart) == expected
    assert len(apart._processes) == 1


def test_where_several_processes_suit_it_another_begins_once_it_has_work(
    trained_workspace_template, expected
):
    classifier = ClassifierApart(partial(load_for_two, trained_workspace_template))
    assert classifier.at_once == 2
    for _ in range(3):
        classifier.predict(TEXTS)
    assert len(classifier._processes) == 1  # which is enough for one who asks
    deadline = time.monotonic() + 60
    while len(classifier._processes) < 2 and time.monotonic() < deadline:
        assert asked_at_once(classifier) == expected
    os.kill(process_of(classifier), signal.SIGKILL)
    assert asked_at_once(classifier) == expected
    processes = [each.process for each in classifier._processes]
    classifier.close()
    assert [process.exitcode for process in processes] == [0, 0]


def test_where_there_is_no_room_for_another_one_answers(trained_workspace_template, expected):
    classifier = ClassifierApart(partial(load_for_two, trained_workspace_template))
    classifier._load = die
    asked_at_once(classifier)
    classifier._beginner.shutdown()
    assert classifier.at_once == 1
    assert asked_at_once(classifier) == expected
    classifier.close()


def test_what_loading_ends_with_is_told(tmp_path):
    with pytest.raises(MissingInputError, match="no classifier"):
        ClassifierApart(partial(load, tmp_path))
    with pytest.raises(SpamgptError, match=r"ended \(7\)"):
        ClassifierApart(die)


def load_for_long() -> SpamClassifier:
    time.sleep(60)
    raise AssertionError


def test_what_still_loads_is_neither_interrupted_nor_waited_for():
    # In a program of its own: with the first process begins what unblocks interrupts.
    program = """
import os, signal, time
from tests.classifier.test_apart import load_for_long
from spamgpt.classifier.apart import ClassifierProcess
if __name__ == "__main__":
    process = ClassifierProcess(load_for_long)
    time.sleep(0.2)
    os.kill(process.process.pid, signal.SIGINT)
    time.sleep(2)
    print(process.process.is_alive(), process.ready, flush=True)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True
    )
    assert (done.stdout, done.stderr) == ("True False\n", "")


@pytest.mark.parametrize("end", ["del classifier", "classifier.close()", "os._exit(0)", "pass"])
def test_it_ends_with_who_asks_it(trained_workspace_template, end):
    program = f"""
import os
from functools import partial
from tests.classifier.test_apart import load
from spamgpt.classifier.apart import ClassifierApart
if __name__ == "__main__":
    classifier = ClassifierApart(partial(load, {str(trained_workspace_template)!r}))
    print("loaded", flush=True)
    {end}
"""
    # The other process holds the standard output, too: this returns when both have ended.
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "loaded\n"


def test_where_no_process_can_begin_for_a_while_it_answers_again_afterwards(
    apart, here, monkeypatch
):
    os.kill(process_of(apart), signal.SIGKILL)
    with monkeypatch.context() as patch:

        def start(process: SpawnProcess) -> None:
            raise BlockingIOError(11, "Resource temporarily unavailable")

        patch.setattr(SpawnProcess, "start", start)
        for _ in range(2):
            with pytest.raises(SpamgptError, match="cannot begin: Resource temporarily"):
                apart.predict_proba(TEXTS)
    assert apart.predict_proba(TEXTS) == pytest.approx(here.predict_proba(TEXTS), abs=1e-6)
