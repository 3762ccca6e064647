import socket
import stat

import pytest


@pytest.fixture
def serve(spamgpt, trained_workspace, monkeypatch):
    """Runs `spamgpt serve` up to where it would wait for requests."""
    from spamgpt.serve import lifecycle

    served = []

    async def not_for_long(service, app, http, spamd=None, *args):
        served.append((service, http.getsockname(), spamd and spamd.getsockname()))

    monkeypatch.setattr(lifecycle, "serve", not_for_long)

    def run(*options: object):
        result = spamgpt("serve", "-w", trained_workspace, "--port", 0, *options)
        return result, served[-1] if served else None

    return run


def test_it_listens_on_this_machine_alone_and_says_where(serve):
    result, (_, http, spamd) = serve()
    assert result.status == 0
    assert http[0] == "127.0.0.1"
    assert spamd is None
    assert f"http://127.0.0.1:{http[1]}" in result.err
    assert result.out == ""


def test_every_limit_is_an_option(serve):
    options = {
        "max_body": 5,
        "max_text": 6,
        "max_texts": 7,
        "max_queue": 8,
        "max_connections": 9,
        "max_client_connections": 4,
        "timeout": 2.5,
    }
    flat = [
        part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", value)
    ]
    _, (service, _, _) = serve(*flat, "--no-symbols", "--threshold", 0.7)
    assert {name: getattr(service.limits, name) for name in options} == options
    assert service.explain_mails is False
    assert service.serving.predictor.threshold == 0.7


def test_other_machines_need_a_token(serve, tmp_path):
    result, served = serve("--host", "0.0.0.0")
    assert (result.status, served) == (2, None)
    assert "--token-file" in result.err
    assert "--no-token" in result.err
    token = tmp_path / "token"
    token.write_text("correct-horse-battery\n")
    for options in (["--token-file", token], ["--no-token"]):
        result, served = serve("--host", "0.0.0.0", *options)
        assert result.status == 0
        assert "Other machines can reach 0.0.0.0:0" in result.err
    result, _ = serve("--spamd", "0.0.0.0:0", "--token-file", token)
    assert result.status == 2
    assert "spamd knows no token" in result.err
    result, (_, _, spamd) = serve("--spamd", "0.0.0.0:0", "--no-token")
    assert (result.status, spamd[0]) == (0, "0.0.0.0")


@pytest.mark.parametrize("content", ["", "short", "two words of some length"])
def test_a_token_that_is_none_is_an_error(serve, tmp_path, content):
    (tmp_path / "token").write_text(content)
    result, _ = serve("--token-file", tmp_path / "token")
    assert result.status == 4
    assert f"The token in {tmp_path / 'token'} has to be one word" in " ".join(result.err.split())
    assert content == "" or content not in result.err


def test_a_missing_token_file_is_an_error(serve, tmp_path):
    result, _ = serve("--token-file", tmp_path / "no token")
    assert result.status == 3
    assert f">'{tmp_path / 'no token'}'" in " ".join(result.err.split())


def test_a_port_that_is_taken_is_an_error(spamgpt, trained_workspace):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        result = spamgpt("serve", "-w", trained_workspace, "--port", port)
    assert result.status == 2
    said = f"127.0.0.1:{port} cannot be listened on: Address already in use."
    assert said in " ".join(result.err.split())


@pytest.mark.parametrize("wrong", ["783", "localhost:", "localhost:x", "localhost:70000", ":"])
def test_an_address_of_spamd_that_is_none_is_an_error(serve, wrong):
    result, _ = serve("--spamd", wrong)
    assert result.status == 2
    assert "--spamd" in result.err


def test_a_unix_socket_is_made_replaced_and_removed(serve, tmp_path):
    path = tmp_path / "spamd.sock"
    left_behind = socket.socket(socket.AF_UNIX)
    left_behind.bind(str(path))
    left_behind.close()
    result, (_, _, spamd) = serve("--spamd", path)
    assert (result.status, spamd) == (0, str(path))
    assert not path.exists()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        result, _ = serve("--spamd", path)
        assert result.status == 2
        assert "is in use" in result.err
        assert stat.S_ISSOCK(path.stat().st_mode)
    path.unlink()
    path.write_text("a file of somebody")
    assert serve("--spamd", path)[0].status == 2
    assert path.read_text() == "a file of somebody"


def test_more_messages_in_a_request_than_the_queue_holds_are_a_wrong_option(serve):
    result, _ = serve("--max-queue", 10)
    assert result.status == 2
    assert "--max-queue" in result.err


def test_the_extra_is_named_where_it_is_missing(serve, monkeypatch):
    from spamgpt import extras

    real = extras.find_spec
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name == "fastapi" else real(name))
    result, _ = serve()
    assert result.status == 3
    assert "This needs fastapi, which is not installed." in result.err
    assert "spamgpt[serve]" in result.err


@pytest.mark.parametrize(
    ("options", "said"),
    [(("--classifier", "v1"), "--classifier v1 stays"), (("--no-corrections",), "none are taken")],
)
def test_training_wants_corrections_and_a_classifier_that_may_change(serve, options, said):
    result, served = serve("--train-after", 5, *options)
    assert (result.status, served) == (2, None)
    assert said in " ".join(result.err.split())
    assert "--train-after" in result.err


def test_corrections_are_taken_unless_told_otherwise(serve):
    assert serve()[1][0].can_learn
    assert not serve("--no-corrections")[1][0].can_learn
