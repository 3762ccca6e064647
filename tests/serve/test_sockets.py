import socket

from spamgpt.serve.sockets import Address, address_of, listen


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
