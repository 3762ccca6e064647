"""Mails through a real Postfix and spamass-milter: Debian's, as root, on 127.0.0.1 alone."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import pytest

from tests.serve.conftest import HAM, SPAM

PROGRAMS = ("postfix", "spamass-milter", "spamc", "swaks")
MASTER = """\
127.0.0.1:{smtp} inet n - n - - smtpd
pickup    unix  n - n 60 1 pickup
cleanup   unix  n - n - 0 cleanup
qmgr      unix  n - n 300 1 qmgr
rewrite   unix  - - n - - trivial-rewrite
bounce    unix  - - n - 0 bounce
defer     unix  - - n - 0 bounce
trace     unix  - - n - 0 bounce
error     unix  - - n - - error
retry     unix  - - n - - error
virtual   unix  - n n - - virtual
proxymap  unix  - - n - - proxymap
anvil     unix  - - n - 1 anvil
postlog   unix-dgram n - n - 1 postlogd
"""
MAIN = """\
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
maillog_file = {folder}/maillog
maillog_file_prefixes = {folder}
myhostname = mail.example
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mydestination =
alias_maps =
virtual_mailbox_domains = mail.example
virtual_mailbox_base = {folder}/mail
virtual_mailbox_maps = static:zoe/
virtual_minimum_uid = 1
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
smtpd_milters = inet:127.0.0.1:{milter}
milter_default_action = tempfail
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def wait_for(port: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            time.sleep(0.1)
    pytest.fail(f"nothing listens on {port}")


class MailServer:
    """A Postfix that asks spamd on a port about every mail."""

    def __init__(self, folder: Path, spamd: int) -> None:
        self.inbox = folder / "mail" / "zoe" / "new"
        self.smtp, milter = free_port(), free_port()
        self._config = folder / "config"
        owner = pwd.getpwnam("postfix")
        folder.chmod(0o755)
        for name in ("queue", "data", "mail", "config"):
            (folder / name).mkdir()
        for name in ("data", "mail"):
            os.chown(folder / name, owner.pw_uid, owner.pw_gid)
        values = {"folder": folder, "uid": owner.pw_uid, "gid": owner.pw_gid}
        (self._config / "master.cf").write_text(MASTER.format(smtp=self.smtp))
        (self._config / "main.cf").write_text(MAIN.format(**values, milter=milter))
        # A spamd that is being restarted is waited for.
        spamc = ["-d", "127.0.0.1", "-p", spamd, "--connect-retries=90", "--retry-sleep=1"]
        self._milter = subprocess.Popen(
            list(map(str, ["spamass-milter", "-p", f"inet:{milter}@127.0.0.1", "--", *spamc]))
        )
        self._postfix("start")
        wait_for(self.smtp)

    def _postfix(self, what: str) -> None:
        subprocess.run(["postfix", "-c", self._config, what], check=True, capture_output=True)

    def send(self, subject: str) -> None:
        command = ["swaks", "--server", f"127.0.0.1:{self.smtp}", "--to", "zoe@mail.example"]
        command += ["--from", "a@b.example", "--header", f"Subject: {subject}"]
        command += ["--body", " ", "--add-header", "X-Spam-Status: No, trust me"]
        command += ["--timeout", "120"]
        subprocess.run(command, check=True, capture_output=True)

    def mails(self, count: int) -> list[Message]:
        """The mails of the inbox, once there are so many."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            files = list(self.inbox.glob("*")) if self.inbox.exists() else []
            if len(files) >= count:
                return [message_from_bytes(file.read_bytes()) for file in files]
            time.sleep(0.2)
        pytest.fail(f"{len(files)} of {count} mails came")

    def end(self) -> None:
        self._postfix("stop")
        self._milter.terminate()
        self._milter.wait(30)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that Postfix's users may enter, unlike those of tests."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        yield Path(name)


@pytest.mark.mail
def test_a_real_postfix_delivers_marked_mails_also_while_the_daemon_restarts(
    folder, start_process, trained_workspace
):
    if missing := [name for name in PROGRAMS if shutil.which(name) is None]:
        pytest.skip(f"not installed (Debian): {', '.join(missing)}")
    if os.geteuid() != 0:
        pytest.skip("Postfix starts as root only")
    process = start_process("-w", trained_workspace)
    server = MailServer(folder, process.spamd)
    try:
        server.send(SPAM)
        server.send(HAM)
        assert_marked(server.mails(2))
        sent = [f"{SPAM if n % 2 else HAM} {n}" for n in range(10)]
        senders = [threading.Thread(target=server.send, args=[subject]) for subject in sent]
        for number, sender in enumerate(senders):
            sender.start()
            time.sleep(0.1)
            if number == 4:
                assert process.end() == 0
        process = start_process("-w", trained_workspace, spamd_port=process.spamd)
        for sender in senders:
            sender.join()
        found = server.mails(12)
        assert {mail["Subject"] for mail in found} == {SPAM, HAM, *sent}
        assert_marked(found)
    finally:
        server.end()


def assert_marked(mails: list[Message]) -> None:
    for mail in mails:
        spam = mail["Subject"].startswith(SPAM)
        assert mail.get_all("X-Spam-Flag", []) == ["YES" if spam else "NO"]
        (status,) = mail.get_all("X-Spam-Status")
        assert status.startswith("Yes, score=" if spam else "No, score=")
