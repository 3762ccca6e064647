import errno
import io
import os
import signal
import threading

import pytest

from spamgpt.training.interruption import stop_on_interrupt


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_only_asks_to_stop(number):
    said = []
    with stop_on_interrupt(said.append) as should_stop:
        assert not should_stop()
        os.kill(os.getpid(), number)
        assert should_stop()
    assert len(said) == 1


def test_the_second_ctrl_c_acts_at_once():
    with pytest.raises(KeyboardInterrupt), stop_on_interrupt(lambda text: None):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)


def test_the_handlers_are_put_back():
    before = signal.getsignal(signal.SIGINT)
    with stop_on_interrupt(lambda text: None):
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before


def test_a_thread_of_a_larger_program_is_left_alone():
    seen = []

    def work() -> None:
        with stop_on_interrupt(lambda text: None) as should_stop:
            seen.append(should_stop())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [False]


def test_a_terminal_that_closes_may_hang_up_twice_and_show_nothing():
    def gone(text: str) -> None:
        raise OSError(errno.EIO, "Input/output error")

    before = signal.getsignal(signal.SIGHUP)
    with stop_on_interrupt(gone) as should_stop:
        for number in (signal.SIGHUP, signal.SIGHUP, signal.SIGTERM):
            os.kill(os.getpid(), number)
        assert should_stop()
    assert signal.getsignal(signal.SIGHUP) is before


def test_under_nohup_training_goes_on_without_a_terminal():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_on_interrupt(lambda text: None) as should_stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not should_stop()
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_signal_in_the_middle_of_a_written_line_is_told_after_it(tmp_path):
    class Slow(io.FileIO):
        def write(self, data):
            if not should_stop():
                os.kill(os.getpid(), signal.SIGHUP)
            return super().write(data)

    notes = io.BufferedWriter(Slow(tmp_path / "notes", "w"))
    with stop_on_interrupt(lambda text: tell(text.encode())) as should_stop:

        def tell(line: bytes) -> None:
            notes.write(line)
            notes.flush()

        tell(b"step 1 ")
    notes.close()
    assert (tmp_path / "notes").read_text().startswith("step 1 Stopping")
