import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.serve.hostile import attack


def memory_of(pid: int) -> int:
    """What a process has in memory, in bytes."""
    pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    return int(pages) * 4096


def attack_from_all_sides(process, count: int, seed: int) -> list[str]:
    with ThreadPoolExecutor(16) as pool:
        parts = pool.map(
            lambda part: list(attack(process.http, process.spamd, count // 16, seed + part)),
            range(16),
        )
        return [wrong for part in parts for wrong in part]


def test_hundreds_of_hostile_requests_are_refused_or_answered(start_process, trained_workspace):
    process = start_process("-w", trained_workspace, "--timeout", 0.5)
    assert attack_from_all_sides(process, 320, seed=1) == []
    assert process.end() == 0
    assert re.fullmatch("(Listening .*\n){2}Stopping.*\n", process.log.read_text())


@pytest.mark.slow
def test_memory_stays_flat_under_twenty_thousand_of_them(
    start_process, trained_workspace, monkeypatch
):
    if not Path("/proc/self/statm").exists():
        pytest.skip("needs Linux's /proc")
    # The library under torch keeps compiled kernels for up to 1,024 lengths, which would hide what
    # this package keeps.
    monkeypatch.setenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "16")
    process = start_process("-w", trained_workspace, "--timeout", 0.5)
    assert attack_from_all_sides(process, 10_000, seed=100) == []
    before = memory_of(process.process.pid)
    assert attack_from_all_sides(process, 20_000, seed=1_000) == []
    after = memory_of(process.process.pid)
    print(f"{before / 1e6:.1f} MB before, {after / 1e6:.1f} MB after 20,000 requests")
    assert after < 1.02 * before
    assert process.end() == 0
    assert re.fullmatch("(Listening .*\n){2}Stopping.*\n", process.log.read_text())
