import asyncio
import re
import shutil
import socket
import subprocess
import zlib

import aiospamc
import pytest
from aiospamc.header_values import ActionOption

from spamgpt.serve import spamd as protocol
from tests.serve.conftest import HAM, SPAM

SPAM_MAIL = f"Subject: {SPAM}\r\nX-Spam-Flag: NO\r\nX-Spam-Status: No\r\n\r\ncall now\r\n".encode()
HAM_MAIL = f"Subject: {HAM}\n\nok then\n".encode()


def request(command: str, mail: bytes = b"", *headers: str, length: int | None = None) -> bytes:
    length = len(mail) if length is None else length
    lines = [f"{command} SPAMC/1.5", f"Content-length: {length}", "User: zoe", *headers, "", ""]
    return "\r\n".join(lines).encode() + mail


def asked(server, command: str, mail: bytes = b"", *headers: str) -> tuple[bytes, bytes, bytes]:
    """The first line, the headers and the body of the answer."""
    head, _, body = server.raw(request(command, mail, *headers), server.spamd).partition(
        b"\r\n\r\n"
    )
    first, _, rest = head.partition(b"\r\n")
    return first, rest, body


def test_ping_is_answered_and_skip_is_not(server):
    assert server.raw(b"PING SPAMC/1.2\r\n\r\n", server.spamd) == b"SPAMD/1.5 0 PONG\r\n"
    assert server.raw(b"SKIP SPAMC/1.2\r\n\r\n", server.spamd) == b""


@pytest.mark.parametrize(("mail", "spam"), [(SPAM_MAIL, True), (HAM_MAIL, False)])
def test_check_gives_a_score_on_the_side_of_the_threshold(server, mail, spam):
    first, headers, body = asked(server, "CHECK", mail)
    assert (first, body) == (b"SPAMD/1.1 0 EX_OK", b"")
    found = re.search(rb"Spam: (True|False) ; (-?\d+\.\d) / 5\.0", headers)
    assert (found[1] == b"True") is spam
    assert (float(found[2]) >= 5.0) is spam


def test_symbols_are_the_strongest_words(server):
    _, _, body = asked(server, "SYMBOLS", SPAM_MAIL)
    assert 1 <= len(body.split(b",")) <= 5
    assert b"FREE" in body.split(b",")


def test_a_report_can_be_read_and_is_given_if_spam(server):
    _, headers, body = asked(server, "REPORT", SPAM_MAIL)
    assert int(re.search(rb"Content-length: (\d+)", headers)[1]) == len(body)
    assert b"spam, probability of spam" in body
    assert re.search(rb"^ \d\.\d FREE\r$", body, re.MULTILINE)
    assert asked(server, "REPORT_IFSPAM", SPAM_MAIL)[2] == body
    assert asked(server, "REPORT_IFSPAM", HAM_MAIL)[2] == b""
    assert asked(server, "REPORT", HAM_MAIL)[2] != b""


def test_process_gives_the_mail_with_headers_that_cannot_be_forged(server):
    _, _, body = asked(server, "PROCESS", SPAM_MAIL)
    lines = body.split(b"\r\n")
    assert [line.partition(b":")[0] for line in lines[:5]] == [
        b"X-Spam-Checker-Version",
        b"X-Spam-Level",
        b"X-Spam-Status",
        b"X-Spam-Flag",
        b"Subject",
    ]
    assert re.match(rb"X-Spam-Status: Yes, score=\d+\.\d required=5\.0 tests=\S*FREE", lines[2])
    assert lines[3] == b"X-Spam-Flag: YES"
    assert body.endswith(b"\r\n\r\ncall now\r\n")
    assert body.count(b"X-Spam-Flag") == body.count(b"X-Spam-Status") == 1
    of_ham = asked(server, "PROCESS", HAM_MAIL)[2]
    assert b"X-Spam-Flag: NO\n" in of_ham
    # Of spam, as in what `predict --add-header` writes, whatever the answer is.
    probability = re.search(rb"X-Spam-Status: No, .* probability=(0\.\d{4})\n", of_ham)
    assert float(probability[1]) < server.service.serving.predictor.threshold


def test_headers_gives_the_headers_alone(server):
    _, _, body = asked(server, "HEADERS", SPAM_MAIL)
    assert asked(server, "PROCESS", SPAM_MAIL)[2] == body + b"call now\r\n"
    assert asked(server, "HEADERS", b"no mail at all")[2].endswith(b"\n")
    assert asked(server, "HEADERS", b"Subject: a\n\r\nsee you")[2].endswith(b"Subject: a\n\r\n")


def test_a_client_of_an_early_version_gets_the_one_header_that_it_knows(server):
    def lines(command: str) -> list[bytes]:
        early = request(command, SPAM_MAIL).replace(b"SPAMC/1.5", b"SPAMC/1.2")
        return server.raw(early, server.spamd).split(b"\r\n")

    # So Exim reads it (src/spam.c): `SPAMD/%7s 0 EX_OK\r\nSpam: %*s ; %lf / %lf\r\n\r\n%n`.
    for command in ("CHECK", "SYMBOLS", "REPORT"):
        assert re.fullmatch(rb"Spam: True ; \d+\.\d / 5\.0", lines(command)[1])
        assert lines(command)[2] == b""
    assert lines("PROCESS")[1].startswith(b"Content-length: ")
    assert lines("PROCESS")[2] == b""


def test_a_compressed_mail_is_read(server):
    packed = zlib.compress(SPAM_MAIL)
    assert b"Spam: True" in asked(server, "CHECK", packed, "Compress: zlib")[1]


def test_without_a_length_the_mail_ends_where_the_client_closes_its_side(server):
    data = b"CHECK SPAMC/1.2\r\n\r\n" + SPAM_MAIL
    assert b"Spam: True" in server.raw(data, server.spamd, close=True)


def test_tell_teaches_and_forgets(start):
    server = start()
    learnt = asked(server, "TELL", SPAM_MAIL, "Message-class: spam", "Set: local")
    assert learnt[0] == b"SPAMD/1.1 0 EX_OK"
    assert b"DidSet: local" in learnt[1]
    asked(server, "TELL", HAM_MAIL, "Message-class: ham", "Set: local, remote")
    forgot = asked(server, "TELL", HAM_MAIL, "Remove: local")
    assert b"DidRemove: local" in forgot[1]
    assert server.taught == [
        (f"{SPAM}\ncall now", "spam"),
        (f"{HAM}\nok then", "ham"),
        (f"{HAM}\nok then", None),
    ]
    for headers in ([], ["Set: local"], ["Set: local", "Message-class: eggs"], ["Set: remote"]):
        assert asked(server, "TELL", HAM_MAIL, *headers)[0].startswith(b"SPAMD/1.1 64 EX_USAGE ")
    assert len(server.taught) == 3


def test_without_a_place_for_corrections_tell_is_unavailable(start):
    answer = asked(start(can_learn=False), "TELL", SPAM_MAIL, "Message-class: spam", "Set: local")
    assert answer[0].startswith(b"SPAMD/1.1 69 EX_UNAVAILABLE ")


@pytest.mark.parametrize(
    ("data", "ending"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", b"76 EX_PROTOCOL"),
        (b"\r\n", b"76 EX_PROTOCOL"),
        (b"EGGS SPAMC/1.5\r\n\r\n", b"76 EX_PROTOCOL"),
        (b"CHECK SPAMC/1.5\r\nno colon\r\n\r\n", b"76 EX_PROTOCOL"),
        (b"CHECK SPAMC/1.5\r\nContent-length: many\r\n\r\n", b"76 EX_PROTOCOL"),
        (b"CHECK SPAMC/1.5\r\nContent-length: -1\r\n\r\n", b"76 EX_PROTOCOL"),
        (b"CHECK SPAMC/1.5\r\nContent-length: 99999999999999\r\n\r\n", b"98 EX_TOOBIG"),
        (b"CHECK SPAMC/1.5\r\nCompress: lzma\r\nContent-length: 1\r\n\r\nx", b"76 EX_PROTOCOL"),
        (request("CHECK", b"secret words", length=50), b"76 EX_PROTOCOL"),
        (request("CHECK", b"secret words", "Compress: zlib"), b"76 EX_PROTOCOL"),
        (request("CHECK", zlib.compress(SPAM_MAIL)[:-3], "Compress: zlib"), b"76 EX_PROTOCOL"),
        (request("CHECK", zlib.compress(bytes(50_000_000)), "Compress: zlib"), b"98 EX_TOOBIG The"),
        (request("CHECK", b"Subject: x\n\n" + b"x" * 200_001), b"98 EX_TOOBIG"),
        (b"CHECK SPAMC/1.5\r\n" + b"a: b\r\n" * 5_000, b"98 EX_TOOBIG"),
        (b"CHECK SPAMC/1.5\r\na: " + b"b" * 500_000, b"98 EX_TOOBIG"),
        (b"a" * 500_000, b"98 EX_TOOBIG"),
    ],
)  # fmt: skip
def test_a_refusal_has_a_number_and_a_reason(server, data, ending):
    answer = server.raw(data, server.spamd, close=True)
    assert answer.startswith(b"SPAMD/1.1 " + ending + b" ")
    assert answer.endswith(b".\r\n\r\n")
    assert b"secret" not in answer


def test_a_mail_larger_than_the_limit_is_refused_while_it_is_sent(server):
    assert server.raw(request("CHECK", bytes(20_000_000)), server.spamd, close=True).startswith(
        b"SPAMD/1.1 98 EX_TOOBIG "
    )


def test_aiospamc_is_answered(server):
    async def scenario():
        where = {"host": "127.0.0.1", "port": server.spamd}
        assert (await aiospamc.ping(**where)).message == "PONG"
        checked = await aiospamc.check(SPAM_MAIL, compress=True, **where)
        assert checked.headers["Spam"].value is True
        assert checked.headers["Spam"].score > checked.headers["Spam"].threshold == 5.0
        assert b"FREE" in (await aiospamc.symbols(SPAM_MAIL, user="zoe", **where)).body
        assert b"X-Spam-Flag: YES" in (await aiospamc.process(SPAM_MAIL, **where)).body
        assert b"call now" not in (await aiospamc.headers(SPAM_MAIL, **where)).body
        assert (await aiospamc.report(HAM_MAIL, **where)).body
        assert not (await aiospamc.report_if_spam(HAM_MAIL, **where)).body
        local = ActionOption(local=True, remote=False)
        told = await aiospamc.tell(SPAM_MAIL, "spam", set_action=local, **where)
        assert told.headers["DidSet"].action.local

    asyncio.run(scenario())


@pytest.fixture
def spamc(server):
    """Runs the real `spamc` on a mail: its exit status and output."""
    program = shutil.which("spamc")
    if program is None:
        pytest.skip("spamc is not installed (Debian: spamc)")

    def run(mail: bytes, *options: str) -> tuple[int, bytes]:
        command = [program, "-d", "127.0.0.1", "-p", str(server.spamd), "-x", *options]
        done = subprocess.run(command, input=mail, capture_output=True, check=False, timeout=30)
        return done.returncode, done.stdout

    return run


def test_spamc_is_answered(spamc):
    status, out = spamc(SPAM_MAIL, "-c")
    assert status == 1  # spam
    score, limit = out.split(b"/")
    assert float(score) > float(limit) == 5.0
    assert spamc(HAM_MAIL, "-c")[0] == 0
    status, marked = spamc(SPAM_MAIL)
    assert status == 0
    assert b"X-Spam-Flag: YES" in marked
    assert spamc(SPAM_MAIL, "--headers")[1] == marked
    assert b"FREE" in spamc(SPAM_MAIL, "-y")[1]
    assert b"probability of spam" in spamc(SPAM_MAIL, "-R")[1]
    assert b"probability" not in spamc(HAM_MAIL, "-r")[1]
    assert spamc(b"", "-K")[1].startswith(b"SPAMD/1.5 0")


def test_spamc_teaches(spamc, server):
    del server.taught[:]
    assert b"successfully" in spamc(SPAM_MAIL, "-L", "spam")[1]
    assert b"successfully" in spamc(SPAM_MAIL, "-L", "forget")[1]
    assert [label for _, label in server.taught] == ["spam", None]


def test_an_idle_connection_does_not_disturb_others(server):
    with socket.create_connection(("127.0.0.1", server.spamd)):
        assert b"Spam: True" in asked(server, "CHECK", SPAM_MAIL)[1]


def test_an_error_of_the_program_is_told_without_the_text(start, monkeypatch, caplog):
    server = start()

    async def broken(request, service):
        raise ValueError(f"cannot read {request.mail!r}")

    monkeypatch.setattr(protocol, "answer", broken)
    answer = server.raw(request("CHECK", b"secret words"), server.spamd)
    assert answer.startswith(b"SPAMD/1.1 70 EX_SOFTWARE ")
    assert b"secret" not in answer
    assert "ValueError" in caplog.text
    assert "secret" not in caplog.text
