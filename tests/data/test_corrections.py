import os
import random
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from spamgpt.data.corrections import Changes, Correction, Corrections, digest_of, same_message
from spamgpt.errors import BadDataError, IntegrityError, MissingInputError, SpamgptError, UsageError
from spamgpt.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "workspace")


@pytest.fixture
def corrections(workspace: Workspace) -> Corrections:
    return Corrections(workspace)


def test_nothing_is_written_before_something_is_taught(corrections, workspace):
    assert list(corrections) == []
    assert len(corrections) == 0
    assert corrections.digest is None
    assert corrections.forget("never taught") == Changes()
    assert not workspace.root.exists()


def test_the_last_word_on_a_message_counts(corrections):
    assert corrections.teach("Win a prize", "spam") == Changes(new=1)
    assert corrections.teach("see you", "ham") == Changes(new=1)
    assert corrections.teach("WIN  a prize\r\n", "ham") == Changes(relabelled=1)
    assert corrections.teach("win a prize", "ham") == Changes(known=1)
    assert corrections.labels == {"ham": 2}
    assert corrections.forget("Win a prize") == Changes(forgotten=1)
    assert list(corrections) == [Correction("see you", "ham")]


def test_what_is_forgotten_is_not_in_the_file_any_more(corrections):
    corrections.teach("a secret between us", "ham")
    assert b"a secret between us" in corrections.path.read_bytes()
    corrections.forget("a secret between us")
    assert b"secret" not in corrections.path.read_bytes()
    assert [path.name for path in corrections.path.parent.iterdir()] == [corrections.path.name]


@pytest.mark.parametrize("text", ['"quoted", it\'s', "two\nlines\r\n", "nul \0 inside", "é ☃ 🎉"])
def test_texts_come_back_as_they_were(corrections, text):
    corrections.teach(text, "ham")
    assert list(corrections) == [Correction(text, "ham")]


def test_half_a_surrogate_pair_is_replaced(corrections):
    corrections.teach("half \ud800 pair", "spam")
    assert [each.text for each in corrections] == ["half \ufffd pair"]
    assert corrections.forget("half \ud800 pair").forgotten == 1


def test_several_changes_are_made_together_or_not_at_all(corrections):
    changes = [("one", "spam"), ("two", "ham"), ("one", None)]
    assert corrections.change(iter(changes)) == Changes(new=2, forgotten=1)
    with pytest.raises(BadDataError, match="no text"):
        corrections.change([("three", "ham"), (" \n", "spam")])
    with pytest.raises(UsageError, match="label is empty"):
        corrections.teach("three", " ")
    assert list(corrections) == [Correction("two", "ham")]


def test_the_digest_depends_on_texts_and_labels_and_not_on_their_order(tmp_path):
    def digest(*changes: tuple[str, str | None]) -> str | None:
        store = Corrections(Workspace(tmp_path / str(len(list(tmp_path.iterdir())))))
        for change in changes:
            store.change([change])
        return store.digest

    one = digest(("a", "ham"), ("b", "spam"))
    assert one == digest(("b", "spam"), ("c", "ham"), ("a", "ham"), ("c", None))
    assert one != digest(("a", "ham"), ("b", "ham"))
    assert digest(("a", "ham"), ("a", None)) is None
    assert digest_of([]) is None


def test_only_the_owner_can_read_the_file(corrections):
    before = os.umask(0)
    try:
        corrections.teach("private", "ham")
    finally:
        os.umask(before)
    assert stat.S_IMODE(corrections.path.stat().st_mode) == 0o600


def test_case_spaces_and_spelling_make_no_other_message():
    assert same_message("ﬁne  Day\n") == same_message("fine day")
    assert same_message("fine day") != same_message("fine days")


def test_several_processes_and_threads_can_teach_at_once(workspace):
    code = (
        "import sys; from pathlib import Path\n"
        "from spamgpt.data.corrections import Corrections\n"
        "from spamgpt.workspace import Workspace\n"
        "store = Corrections(Workspace(Path(sys.argv[1])))\n"
        "for number in range(20): store.teach(f'{sys.argv[2]} {number}', 'spam')\n"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", code, str(workspace.root), f"process {number}"])
        for number in range(3)
    ]
    corrections = Corrections(workspace)

    def teach(name: str) -> None:
        for number in range(20):
            corrections.teach(f"{name} {number}", "ham")

    threads = [threading.Thread(target=teach, args=(f"thread {n}",)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert corrections.labels == {"ham": 60, "spam": 60}


TEACHES_UNTIL_KILLED = """
import sys
from pathlib import Path
from spamgpt.data.corrections import Corrections
from spamgpt.workspace import Workspace
store = Corrections(Workspace(Path(sys.argv[1])))
number = int(sys.argv[2])
while True:
    number += 1
    store.teach(f"message {number}", "spam" if number % 2 else "ham")
    if number % 3 == 0:
        store.forget(f"message {number - 2}")
    print(number, flush=True)
"""


def kill_again_and_again(workspace: Workspace, times: int) -> None:
    draw = random.Random(times)
    acknowledged = 0
    for _ in range(times):
        process = subprocess.Popen(
            [sys.executable, "-c", TEACHES_UNTIL_KILLED, workspace.root, str(acknowledged)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout
        first = process.stdout.readline()
        timer = threading.Timer(draw.uniform(0, 0.3), process.send_signal, [signal.SIGKILL])
        timer.start()
        acknowledged = int([first, *process.stdout][-1])
        process.stdout.close()
        assert process.wait() == -signal.SIGKILL
        timer.join()
        found = {each.text: each.label for each in Corrections(workspace)}
        for number in range(1, acknowledged + 1):
            text = f"message {number}"
            # Of each three, the first was forgotten when the third was there.
            if number % 3 == 1 and number + 2 <= acknowledged:
                assert text not in found
            elif number % 3 != 1:
                assert found[text] == ("spam" if number % 2 else "ham")
        # At most what was under way came besides.
        assert set(found) <= {f"message {number}" for number in range(1, acknowledged + 2)}
    assert acknowledged > times


def test_nothing_acknowledged_is_lost_when_processes_are_killed(workspace):
    kill_again_and_again(workspace, 5)


@pytest.mark.slow
def test_nothing_acknowledged_is_lost_in_fifty_kills(workspace):
    kill_again_and_again(workspace, 50)


def test_a_process_killed_while_it_made_the_file_does_no_harm(corrections):
    corrections.path.parent.mkdir()
    corrections.path.touch(0o600)
    assert list(corrections) == []
    corrections.teach("first", "ham")
    assert len(corrections) == 1


def test_a_full_disk_is_told_and_keeps_what_was_there(workspace):
    code = (
        "import resource, sys; from pathlib import Path\n"
        "from spamgpt.data.corrections import Corrections\n"
        "from spamgpt.errors import SpamgptError\n"
        "from spamgpt.workspace import Workspace\n"
        "store = Corrections(Workspace(Path(sys.argv[1])))\n"
        "store.teach('kept', 'ham')\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))\n"
        "try: store.teach('long ' * 50_000, 'spam')\n"
        "except SpamgptError as error: print(error.hint)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, workspace.root], capture_output=True, text=True, check=True
    )
    assert done.stdout == "Is the disk full? Nothing that was acknowledged is lost.\n"
    assert list(Corrections(workspace)) == [Correction("kept", "ham")]


def test_a_file_that_is_none_is_told(corrections):
    corrections.path.parent.mkdir()
    corrections.path.write_bytes(b"no database at all " * 100)
    for use in (lambda: list(corrections), lambda: corrections.teach("a", "ham")):
        with pytest.raises(IntegrityError, match="is damaged"):
            use()


def test_a_file_of_a_later_version_is_left_alone(corrections):
    corrections.teach("a", "ham")
    connection = sqlite3.connect(corrections.path)
    connection.execute("PRAGMA user_version = 7")
    connection.close()
    with pytest.raises(IntegrityError, match="has schema 7"):
        corrections.teach("b", "ham")


def test_a_folder_in_place_of_the_file_is_told(corrections):
    corrections.path.mkdir(parents=True)
    with pytest.raises(MissingInputError, match="cannot be opened"):
        list(corrections)


def test_other_processes_are_not_waited_for_without_end(corrections, monkeypatch):
    monkeypatch.setattr("spamgpt.data.corrections._PATIENCE", 0.05)
    corrections.teach("a", "ham")
    connection = sqlite3.connect(corrections.path, isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    try:
        with pytest.raises(SpamgptError, match="Another process has held"):
            corrections.teach("b", "ham")
    finally:
        connection.close()
    assert corrections.teach("b", "ham").new == 1
