import socket

import pytest

from spamgpt.errors import UsageError
from spamgpt.serve.sockets import Address, address_of, listen, listen_on_path


def test_an_answer_does_not_wait_for_an_acknowledgement():
    with (
        listen(Address("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()),
    ):
        connection, _ = listener.accept()
        with connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_names_stand_for_addresses_and_local_ones_are_known():
    assert address_of("localhost", 5).is_local
    assert address_of("127.9.9.9", 5).is_local
    assert not address_of("0.0.0.0", 5).is_local
    assert str(Address("::1", 5)) == "[::1]:5"
    assert Address("::1", 5).is_local
    assert not Address("::", 5).is_local


def test_a_socket_of_something_else_is_left_alone(tmp_path):
    path = tmp_path / "log"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(str(path))
        with pytest.raises(UsageError, match="socket of something else"):
            listen_on_path(path)
    assert path.exists()


def test_a_path_that_is_too_long_is_told(tmp_path):
    with pytest.raises(UsageError, match="too long"):
        listen_on_path(tmp_path / ("x" * 120))
