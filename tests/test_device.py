import os
import platform
import subprocess
import sys

import pytest
import torch

from spamgpt import device
from spamgpt.device import default_threads, resolve_device, resolve_precision, set_threads
from spamgpt.errors import UsageError
from spamgpt.gpt2.backends import projections


def test_auto_takes_what_there_is():
    device = resolve_device("auto")
    torch.zeros(1, device=device)
    if not torch.cuda.is_available() and not torch.backends.mps.is_available():
        assert device.type == "cpu"


def test_a_device_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match="no cuda device"):
        resolve_device("cuda")


def test_eight_bits_are_refused_where_their_sums_could_overflow(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True})
    with pytest.raises(UsageError, match="AVX512-VNNI"):
        resolve_precision("int8", torch.device("cpu"))
    with pytest.raises(UsageError, match="AVX512-VNNI"):
        resolve_precision("int8", torch.device("cuda"))


def test_eight_bits_are_refused_where_the_operators_of_torch_are_not_usable(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_vnni": True})
    monkeypatch.setattr(projections, "quantized_projections_work", lambda: False)
    with pytest.raises(UsageError, match="does not compute int8 products on this processor"):
        resolve_precision("int8", torch.device("cpu"))


def test_auto_never_takes_eight_bits():
    assert resolve_precision("auto", torch.device("cpu")) in (torch.bfloat16, torch.float32)


@pytest.mark.parametrize(
    ("cores", "quota", "threads"),
    [
        (1, None, 1),
        (2, None, 2),
        (4, None, 4),
        (5, None, 4),
        (64, None, 63),
        (8, 2.5, 2),
        (8, 0.5, 1),
        (2, 16, 2),
    ],
)
def test_of_many_cores_one_is_left_to_others_and_a_containers_share_is_kept(cores, quota, threads):
    assert default_threads(cores, quota) == threads


def in_a_fresh_process(code: str, **environment: str) -> str:
    """What a program prints; of the settings of OpenMP it has only those given."""
    kept = {name: value for name, value in os.environ.items() if name not in OPENMP}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=kept | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


OPENMP = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "OMP_NUM_THREADS")
SHOW = "import os, torch; print(torch.get_num_threads(), os.environ.get('GOMP_SPINCOUNT'))"


def test_threads_are_set_before_and_after_torch_is_loaded():
    code = "import sys; from spamgpt.device import set_threads; set_threads(3);"
    code += f"assert 'torch' not in sys.modules; {SHOW}; set_threads(1); {SHOW}"
    assert in_a_fresh_process(code) == "3 2000\n1 2000"


def test_without_a_number_the_default_holds_unless_the_user_or_the_program_chose(monkeypatch):
    code = "from spamgpt import device; device._cores = lambda: 6; "
    code += f"device._cpu_quota = lambda: QUOTA; device.set_threads(None); {SHOW}"
    # MKL would not take more threads than there really are.
    many = {"MKL_DYNAMIC": "FALSE"}
    assert in_a_fresh_process(code.replace("QUOTA", "None"), **many) == "5 2000"
    assert in_a_fresh_process(code.replace("QUOTA", "2")) == "2 2000"
    assert in_a_fresh_process(code.replace("QUOTA", "2"), OMP_NUM_THREADS="1") == "1 2000"
    monkeypatch.setattr(device, "_cores", lambda: 64)
    before = torch.get_num_threads()
    set_threads(None)  # torch is loaded: whoever did it may have chosen
    assert torch.get_num_threads() == before


def test_threads_hardly_spin_while_they_wait_unless_the_user_says_how_they_wait():
    load = f"from spamgpt import SpamClassifier; {SHOW}"
    assert in_a_fresh_process(load, OMP_NUM_THREADS="1") == "1 2000"
    assert in_a_fresh_process(load, OMP_NUM_THREADS="1", OMP_WAIT_POLICY="ACTIVE") == "1 None"
    assert in_a_fresh_process(load, OMP_NUM_THREADS="1", GOMP_SPINCOUNT="7") == "1 7"


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it is about glibc's malloc")
def test_what_is_freed_is_used_again_without_new_pages_from_the_system():
    program = (
        "import resource, sys\n"
        "from spamgpt.device import keep_freed_memory\n"
        "if sys.argv[1] == 'keep': keep_freed_memory()\n"
        "def faults(): return resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "bytes(2**25); before = faults()\n"
        "for _ in range(50): bytearray(b'x') * 2**25\n"
        "print(faults() - before)\n"
    )
    kept, returned = (
        int(subprocess.check_output([sys.executable, "-c", program, how], text=True))
        for how in ("keep", "return")
    )
    # Of 4 kB each, a block has 8,192.
    assert kept < 2 * 8192
    assert returned > 40 * 8192


def test_an_older_glibc_which_takes_less_is_asked_for_less(monkeypatch):
    asked: list[tuple[int, int]] = []

    class Library:
        def __init__(self, _: None) -> None:
            pass

        def mallopt(self, option: int, value: int) -> int:
            asked.append((option, value))
            return value <= 2**25 or option != device._MALLOC_MMAP_THRESHOLD

    monkeypatch.setattr("ctypes.CDLL", Library)
    monkeypatch.setattr("sys.platform", "linux")
    device.keep_freed_memory()
    assert [value for _, value in asked] == [2**30, 2**25, 2**27]
