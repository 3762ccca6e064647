"""spamd and rspamd, as Debian has them, beside `spamgpt serve --spamd` on the same mails.

They ask no network (no DNS, no block lists, no fuzzy hashes) and have not learnt anything: the
fastest that they get.
"""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.load import (
    CLIENTS,
    Client,
    free_port,
    load,
    milliseconds,
    over_rspamd,
    over_spamd,
    running,
    served,
)
from benchmarks.world import World

MAILS = 400
ALONE = 100
# Seconds that a filter may take to start: rspamd compiles its lists at first.
_STARTS_WITHIN = 300
_NOT_INSTALLED = "not installed (Debian: apt-get install {})"

_SPAMASSASSIN = ("dns_available no", "skip_rbl_checks 1", "use_bayes 0")
_RSPAMD_OFF = [
    "arc",
    "asn",
    "dkim",
    "dkim_signing",
    "dmarc",
    "fuzzy_check",
    "greylist",
    "hfilter",
    "history_redis",
    "mx_check",
    "neural",
    "once_received",
    "ratelimit",
    "rbl",
    "replies",
    "reputation",
    "spf",
    "url_redirector",
]


def measure(world: World, classifiers: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yields a figure's name and its value."""
    lines = world.write_lines(MAILS).read_text(encoding="utf-8").splitlines()
    for name in classifiers:
        options = ("--classifier", name, "--no-symbols")
        with served(world.folder, *options) as server:
            yield from _rows(f"spamgpt serve --spamd, {name}", over_spamd, server.spamd, lines)
    for program, package, client, start in (
        ("spamd", "spamassassin spamd", over_spamd, _spamd),
        ("rspamd", "rspamd", over_rspamd, rspamd),
    ):
        if shutil.which(program) is None:
            yield program, _NOT_INSTALLED.format(package)
            continue
        # Not the folder of the world: it may be one that other users cannot enter.
        with tempfile.TemporaryDirectory() as folder:
            Path(folder).chmod(0o755)
            with start(Path(folder)) as port:
                yield from _rows(_version(program), client, port, lines)


def _rows(what: str, client: Client, port: int, texts: list[str]) -> Iterator[tuple[str, str]]:
    load(client, port, texts[:CLIENTS], CLIENTS)
    waited, seconds = load(client, port, [f"{text} anew" for text in texts], CLIENTS)
    alone, _ = load(client, port, [f"{text} again" for text in texts[:ALONE]], 1)
    yield f"{what}, {CLIENTS} clients with one mail each", f"{len(texts) / seconds:,.0f} mails/s"
    yield "    an answer takes, p50 and p99", milliseconds(waited)
    yield "  one client, p50 and p99", milliseconds(alone)


def _version(program: str) -> str:
    said = subprocess.run([program, "--version"], capture_output=True, text=True).stdout
    return f"{program} ({said.splitlines()[0]})"


@contextmanager
def _spamd(folder: Path) -> Iterator[int]:
    """SpamAssassin's daemon, with twice as many children as there are processors."""
    children = str(2 * (os.cpu_count() or 1))
    port = free_port()
    command = ["spamd", "--local", "--nouser-config", "--listen", f"127.0.0.1:{port}"]
    command += [f"--cf={line}" for line in _SPAMASSASSIN] + ["--syslog", "stderr"]
    command += ["--min-children", children, "--max-children", children, "--max-spare", children]
    command += ["--username", "nobody"] if os.geteuid() == 0 else []
    with running(command, folder, {}) as (process, log):
        _wait_for(port, process, log)
        yield port


@contextmanager
def rspamd(folder: Path, files: Mapping[str, str] | None = None) -> Iterator[int]:
    """rspamd with Debian's configuration but for what asks the network or Redis; its port.

    `files` are more of `local.d`, by their names.
    """
    # What stands in `local.d` is merged with Debian's, what stands here replaces it.
    override = folder / "override.d"
    override.mkdir()
    port = free_port()
    for name in _RSPAMD_OFF:
        (override / f"{name}.conf").write_text("enabled = false;\n")
    for name in ("controller", "proxy", "fuzzy"):
        (override / f"worker-{name}.inc").write_text("enabled = false;\n")
    worker = f'bind_socket = "127.0.0.1:{port}";\ncount = {os.cpu_count() or 1};\n'
    (override / "worker-normal.inc").write_text(worker)
    (override / "options.inc").write_text('dns { nameserver = ["127.0.0.1:1"]; timeout = 0.1s; }\n')
    (override / "logging.inc").write_text('type = "console";\nlevel = "warning";\n')
    for name, content in (files or {}).items():
        (folder / "local.d").mkdir(exist_ok=True)
        (folder / "local.d" / name).write_text(content)
    command = ["rspamd", "-f", "-c", "/etc/rspamd/rspamd.conf"]
    for name in ("LOCAL_CONFDIR", "DBDIR", "RUNDIR", "LOGDIR"):
        command += [f"--var={name}={folder}"]
    if os.geteuid() == 0:
        command += ["--user", "_rspamd", "--group", "_rspamd"]
        shutil.chown(folder, "_rspamd", "_rspamd")
    with running(command, folder, {}) as (process, log):
        _wait_for(port, process, log)
        yield port


def _wait_for(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + _STARTS_WITHIN
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            time.sleep(0.2)
    raise RuntimeError(f"it does not listen on {port}: {log.read_text()}")
