"""What clients correct: kept whatever happens to the server, and learnt if that is wanted."""

import asyncio
import random
import re
import threading
import time
from multiprocessing import active_children

import pytest
import requests

from benchmarks.faults.kills import CLIENTS, teach_until_killed
from spamgpt.data.corrections import CORRECTIONS_FILE, Correction, Corrections
from spamgpt.reporting import SILENT, Reporter
from spamgpt.serve.metrics import Metrics
from spamgpt.stages import prepare
from spamgpt.stages.learner import Learner, Outcome, outcome_of, trained
from spamgpt.workspace import Workspace
from tests.serve.conftest import HAM, SPAM
from tests.serve.test_spamd import asked


def teach(url: str, text: str, label: str | None) -> requests.Response:
    return requests.post(f"{url}/v1/feedback", json={"text": text, "label": label}, timeout=60)


def test_corrections_by_http_and_spamd_are_those_of_the_workspace(start_process, trained_workspace):
    process = start_process("-w", trained_workspace)
    corrections = Corrections(Workspace(trained_workspace))
    assert teach(process.url, HAM, "spam").json() == {"label": "spam"}
    assert list(corrections) == [Correction(HAM, "spam")]
    mail = b"Subject: lunch\n\nat noon?\n"
    assert asked(process, "TELL", mail, "Message-class: ham", "Set: local")[0].endswith(b"EX_OK")
    assert set(corrections) == {Correction(HAM, "spam"), Correction("lunch\nat noon?", "ham")}
    asked(process, "TELL", mail, "Remove: local")
    teach(process.url, HAM.upper(), None)
    assert list(corrections) == []
    for text, label, said in ((HAM, "eggs", "ham, spam"), (" ", "ham", "no text")):
        response = teach(process.url, text, label)
        assert response.status_code == 422
        assert said in response.json()["error"]["message"]
    counted = requests.get(f"{process.url}/metrics", timeout=10).text
    assert 'spamgpt_corrections_total{label="forgotten"} 2.0' in counted


def test_nothing_is_written_before_the_first_correction(start_process, tmp_path):
    process = start_process("-w", tmp_path / "new")
    response = requests.post(f"{process.url}/v1/classify", json={"texts": [SPAM]}, timeout=60)
    assert response.headers["spamgpt-classifier"] == "bundled"
    teach(process.url, SPAM, None)
    assert not (tmp_path / "new").exists()
    assert teach(process.url, SPAM, "ham").status_code == 200
    assert [path.name for path in (tmp_path / "new").iterdir()] == [CORRECTIONS_FILE]


def full(folder):
    # /dev/full has no room for a single byte.
    (folder / CORRECTIONS_FILE).symlink_to("/dev/full")


def damaged(folder):
    (folder / CORRECTIONS_FILE).write_bytes(b"no database" * 1000)


def no_folder(folder):
    folder.rmdir()
    folder.write_text("a file")


@pytest.mark.parametrize("break_it", [full, damaged, no_folder])
def test_what_cannot_be_kept_is_refused_and_not_acknowledged(start, tmp_path, break_it):
    folder = tmp_path / "workspace"
    folder.mkdir()
    break_it(folder)
    corrections = Corrections(Workspace(folder))
    server = start(teach=lambda text, label: corrections.change([(text, label)]))
    response = teach(server.url, "secret words", "spam")
    assert response.status_code == 503
    assert str(folder) in response.json()["error"]["message"]
    assert "secret" not in response.text
    mail = b"Subject: x\n\nsecret words\n"
    answer = asked(server, "TELL", mail, "Message-class: spam", "Set: local")
    assert answer[0].startswith(b"SPAMD/1.1 75 EX_TEMPFAIL ")


def test_one_slow_correction_keeps_no_message_waiting(start):
    held, begun = threading.Event(), threading.Event()

    def hold(text, label):
        begun.set()
        assert held.wait(30)

    server = start(teach=hold)
    teaching = threading.Thread(target=teach, args=(server.url, HAM, "ham"))
    teaching.start()
    assert begun.wait(30)
    assert server.post("/v1/classify", SPAM, "text/plain").status_code == 200
    held.set()
    teaching.join()


def kill_while_it_is_taught(start_process, workspace, rounds):
    """Kills a server at random moments; what was acknowledged has to be there after each."""
    draw = random.Random(rounds)
    acknowledged: dict[str, str] = {}
    for number in range(rounds):
        process = start_process("-w", workspace)

        seconds = draw.uniform(0.02, 0.6)
        name = f"message {number}"
        more, refused = teach_until_killed(process.url, name, seconds, process.process.kill)
        assert refused == []
        acknowledged |= more
        kept = {each.text: each.label for each in Corrections(Workspace(workspace))}
        assert acknowledged.items() <= kept.items()
        # At most the one correction of each client that was under way.
        assert len(kept) <= len(acknowledged) + CLIENTS * (number + 1)
    assert len(acknowledged) > rounds
    return len(acknowledged)


def test_a_killed_server_loses_no_correction_that_it_acknowledged(start_process, tmp_path):
    kill_while_it_is_taught(start_process, tmp_path / "workspace", 2)


@pytest.mark.slow
def test_fifty_kills_lose_nothing(start_process, tmp_path):
    count = kill_while_it_is_taught(start_process, tmp_path / "workspace", 50)
    print(f"{count:,} corrections acknowledged in 50 lives, none lost")


def wait_for(process, pattern: str) -> str:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if found := re.search(pattern, " ".join(process.log.read_text().split())):
            return found[0]
        time.sleep(0.1)
    raise AssertionError(process.log.read_text())


def test_after_so_many_corrections_it_trains_and_takes_up_the_better_one(
    start_process, trained_workspace
):
    Corrections(Workspace(trained_workspace)).teach("lunch at noon?", "spam")
    process = start_process("-w", trained_workspace, "--train-after", 3)
    teach(process.url, "the tram is late again", "spam")
    assert "begins" not in process.log.read_text()
    teach(process.url, "bring the blue umbrella", "spam")
    wait_for(process, "Training on the corrections begins")
    # Answers go on.
    response = requests.post(f"{process.url}/v1/classify", json={"texts": [SPAM]}, timeout=60)
    assert response.headers["spamgpt-classifier"] == "classifiers/v1"
    wait_for(process, r"classifiers/v2 was trained from classifiers/v1: \d of 3 corrections right")
    wait_for(process, "From now on classifiers/v2 answers")
    counted = requests.get(f"{process.url}/metrics", timeout=10).text
    assert 'spamgpt_trainings_total{outcome="taken"} 1.0' in counted
    assert "spamgpt_untrained_corrections 0.0" in counted
    assert process.end() == 0
    # After a restart, what was learnt does not count again.
    workspace = Workspace(trained_workspace)
    assert Learner(1, workspace, "cpu", SILENT).untrained == 0
    Corrections(workspace).teach("the keys are on the table", "spam")
    assert Learner(1, workspace, "cpu", SILENT).untrained == 1
    # Prepared is not trained.
    prepare.run(prepare.PrepareSettings(), workspace)
    assert Learner(1, workspace, "cpu", SILENT).untrained == 1


def test_the_end_of_the_server_ends_a_training(start_process, trained_workspace):
    process = start_process("-w", trained_workspace, "--train-after", 1)
    teach(process.url, HAM, "spam")
    wait_for(process, "Training on the corrections begins")
    began = time.monotonic()
    assert process.end() == 0
    assert time.monotonic() - began < 10
    assert "Traceback" not in process.log.read_text()
    Corrections(Workspace(trained_workspace)).teach(SPAM, "ham")


def test_a_training_that_fails_is_told(trained_workspace):
    for table in trained_workspace.glob("datasets/*/v1/*.csv"):
        table.unlink()
    Corrections(Workspace(trained_workspace)).teach(HAM, "spam")
    outcome = outcome_of(trained_workspace, "cpu")
    assert outcome.kind == "failed"
    assert outcome.told.startswith("The training failed: ")
    assert HAM not in outcome.told


class Listening(Reporter):
    def __init__(self):
        self.warnings = []

    def warn(self, text):
        self.warnings.append(text)


def test_what_a_failed_training_should_have_learnt_still_counts(trained_workspace, monkeypatch):
    async def failing(root, device):
        return Outcome("failed", "There was no room.")

    async def until_it_fails():
        running = asyncio.create_task(learner.run(Metrics()))
        while not reporter.warnings:
            await asyncio.sleep(0.01)
        running.cancel()

    monkeypatch.setattr("spamgpt.stages.learner.trained", failing)
    monkeypatch.setattr("spamgpt.stages.learner._LOOK_EVERY", 0.01)
    reporter = Listening()
    learner = Learner(1, Workspace(trained_workspace), "cpu", reporter)
    learner.teach(HAM, "spam")
    asyncio.run(until_it_fails())
    assert (reporter.warnings, learner.untrained) == (["There was no room."], 1)


def test_a_training_that_is_killed_is_told(trained_workspace):
    async def killed():
        training = asyncio.create_task(trained(trained_workspace, "cpu"))
        while not (processes := active_children()):
            await asyncio.sleep(0.01)
        processes[0].kill()
        return await training

    assert asyncio.run(killed()) == Outcome("failed", "The training ended with status -9.")
