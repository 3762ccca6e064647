import io
import mailbox
import re
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from spamgpt.bundled import MESSAGES_FILE
from spamgpt.data.mail import (
    begins_an_mbox,
    fields_of,
    looks_like_mail,
    read_mails,
    split_mbox,
    text_of_html,
    with_header,
)
from spamgpt.data.tables import read_table

FROM = b"From me@mail.example Mon Nov 23 08:00:00 2026\n"


def text_of(*lines: str) -> str:
    return fields_of("\n".join(lines).encode())["text"]


def test_subject_and_body_are_read_and_headers_tell_which_mail_it_was():
    mail = (
        b"From: a@b\nDate: today\nSubject: Hello\nMessage-ID: <1>\nX-Other: no\n\nsee you\r\nat 7\n"
    )
    assert fields_of(mail) == {
        "from": "a@b",
        "date": "today",
        "subject": "Hello",
        "message-id": "<1>",
        "text": "Hello\nsee you\nat 7",
    }


def test_every_bundled_message_is_found_in_its_mail(mails):
    for mail, text in zip(mails, read_table(MESSAGES_FILE)["text"], strict=True):
        read = fields_of(mail)
        assert read["text"].split() == [*text.split()[:5], *text.split()]
        assert read["from"].startswith("Zoë ")


def test_encoded_headers_are_decoded():
    assert text_of("Subject: =?utf-8?B?R3LDvMOfZQ==?=", " =?iso-8859-1?Q?_aus_K=F6ln?= now") == (
        "Grüße aus Köln now"
    )
    assert fields_of("Subject: Größe\n\n".encode())["text"] == "Größe"
    assert fields_of(b"Subject: Gr\xf6\xdfe\n\n")["text"] == "Größe"


@pytest.mark.parametrize("subject", ["=?utf-8?B?A?=", "=?none?Q?=41b?=", "=?utf-8?Q?=4", "=?=?=?"])
def test_a_broken_encoded_header_is_read_as_well_as_it_can_be(subject):
    assert text_of(f"Subject: {subject}", "", "body").endswith("body")


def test_the_plain_version_is_preferred_wherever_it_stands():
    parts = ["--x", "Content-Type: text/html", "", "<b>rich</b>", "--x", "", "plain", "--x--"]
    assert text_of("Content-Type: multipart/alternative; boundary=x", "", *parts) == "plain"


def test_html_is_read_where_the_plain_version_is_empty():
    parts = ["--x", "", "  ", "--x", "Content-Type: text/html", "", "<b>rich</b>", "--x--"]
    assert text_of("Content-Type: multipart/alternative; boundary=x", "", *parts) == "rich"


def test_attachments_are_not_read():
    parts = ["--x", "", "see the file", "--x", "Content-Type: image/png", "", "not text",
             "--x", "Content-Disposition: attachment", "", "nor this", "--x--"]  # fmt: skip
    assert text_of("Content-Type: multipart/mixed; boundary=x", "", *parts) == "see the file"


def test_a_forwarded_mail_is_read_with_its_subject():
    assert text_of(
        "Subject: Fwd", "Content-Type: message/rfc822", "", "Subject: WIN", "", "a prize"
    ) == "Fwd\nWIN\na prize"  # fmt: skip


@pytest.mark.parametrize(
    ("charset", "data", "text"),
    [
        ("iso-8859-15", b"5 \xa4", "5 €"),
        ("'koi8-r'", b"\xf0", "П"),
        ("", b"caf\xc3\xa9", "café"),
        ("us-ascii", b"caf\xc3\xa9", "café"),
        ("no-such", b"caf\xe9", "café"),
        ("utf-8", b"caf\xe9", "café"),
        ("utf-8*en", b"caf\xe9", "café"),
        ("unicode_escape", b"\\x41", "\\x41"),
        ("a\0b", b"hi", "hi"),
    ],
)
def test_bytes_are_read_in_the_charset_that_fits(charset, data, text):
    mail = f"Content-Type: text/plain; charset={charset}\n\n".encode() + data
    assert fields_of(mail)["text"] == text


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ("<p>one</p><p>two<br>three", "one\ntwo\nthree"),
        ("a<b>b</b>c &amp; &euro;5&nbsp;now", "abc & €5 now"),
        ("<title>t</title><style>p{}</style><script>x<y</script>seen", "seen"),
        ("<table><tr><td>a</td><td>b</td></tr></table>", "a b"),
        ("  many \n  blanks\t", "many blanks"),
        ("<!-- hidden -->shown<![if x]> too", "shown too"),
        ("never < closed <b", "never < closed <b"),
        ('one<!-- <b>no</b> <!-- --><img src="data:' + "x" * 5000 + '">two', "one two"),
        ("<noscript>without</noscript>", "without"),
    ],
)
def test_html_is_read_as_it_is_seen(document, text):
    assert text_of_html(document) == text


def test_2_000_damaged_mails_are_all_read(damaged_mails):
    read = [fields_of(mail) for mail in damaged_mails]
    assert len(read) == 2000
    assert all(isinstance(fields["text"], str) for fields in read)
    # What can still be read is: only a mail cut before its text has none.
    assert sum(bool(fields["text"]) for fields in read) > 1800


@pytest.mark.parametrize(
    "mail",
    [
        b"",
        b"\n\n",
        b"\xff\xfe\0",
        b"Content-Type: multipart/mixed\n\nno boundary",
        b"Content-Type: message/rfc822\n\n" * 2000,
        b"".join(
            b"Content-Type: multipart/mixed; boundary=%d\n\n--%d\n" % (n, n) for n in range(500)
        ),
    ],
    ids=["empty", "blank", "binary", "no boundary", "a thousand deep", "parts in parts"],
)
def test_no_mail_is_too_strange(mail):
    assert "text" in fields_of(mail)


@pytest.mark.parametrize(
    "mail",
    [
        b"Content-Type: text/html\n\n" + b"<a " * 10_000,
        b"Content-Type: text/html\n\n" + b"<!--" * 100_000,
        b"Content-Type: text/plain; charset=idna\n\n" + b"x." * 200_000,
        b"Subject: " + b"=?utf-8?Q?a?= " * 5_000 + b"\n\n",
        b"X: \n" * 20_000,
    ],
    ids=["tags", "comments", "idna", "encoded words", "headers"],
)
def test_no_mail_takes_long(mail):
    begin = time.perf_counter()
    fields_of(mail)
    with_header(mail, "X-Spam-Status", "No")
    assert time.perf_counter() - begin < 5


def write_mbox(path, mails: list[bytes]) -> None:
    box = mailbox.mbox(path)
    for mail in mails:
        box.add(mail)
    box.close()


def mails_of(path) -> list[bytes]:
    """The mails of an mbox as Python's mailbox module reads them, each with its From line."""
    box = mailbox.mbox(path, create=False)
    found = [box.get_bytes(key, from_=True) for key in box.iterkeys()]
    box.close()
    return found


mbox_lines = st.sampled_from(
    [
        b"From a\n",
        b"From a\r\n",
        b"\n",
        b"\r\n",
        b">From a\n",
        b"Subject: b\n",
        b" \n",
        b"text\n",
        b"From ",
    ]
)


@given(lines=st.lists(st.one_of(mbox_lines, st.binary(max_size=8)), max_size=30))
@example(lines=[b"\n", b"From a\n"])
@example(lines=[b"\t", b"From a\n"])
def test_an_mbox_is_split_as_pythons_own_module_splits_it(lines, tmp_path_factory):
    content = b"".join(lines)
    split = [mail for _, mail in split_mbox(io.BytesIO(content))]
    assert b"".join(split) == (content if split else b"")
    path = tmp_path_factory.mktemp("mbox") / "box"
    path.write_bytes(content)
    preamble = not re.match(rb"\s*\nFrom ", b"\n" + content) and bool(split)
    expected = mails_of(path)
    # Python's module takes the empty line that ends a mail away.
    found = [mail.lstrip(b"\r\n\t \x0b\x0c") if not n else mail for n, mail in enumerate(split)]
    assert [mail.rstrip(b"\r\n") for mail in found[preamble:]] == [
        mail.rstrip(b"\r\n") for mail in expected
    ]


def test_mails_of_an_mbox_come_with_their_lines_before_the_next_one_is_read():
    def lines():
        yield from [b"From a\n", b"Subject: one\n", b"\n", b"\n", b"From b\n"]
        pytest.fail("read on before the first mail was given")

    row = next(read_mails(lines(), "mbox", "box"))
    assert (row.line, row.fields) == (1, {"file": "box", "subject": "one", "text": "one"})


def test_the_first_line_of_an_mbox_is_told_from_a_message():
    assert begins_an_mbox(FROM)
    assert not begins_an_mbox(b"From Monday on 7:30 is fine\n")


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (b"Subject: hi\n\nsee you\n", True),
        (b"Return-Path: <a@b>\nbroken line\nFrom: a@b\n\nhi\n", True),
        (FROM + b"\nhi\n", True),
        (b"see you at 7\n", False),
        (b"Date: Monday\nPlace: here\n", False),
        (b"Note: bring cake\n\nto: the party\n", False),
        (b"", False),
    ],
)
def test_a_mail_is_told_from_a_text(data, answer):
    assert looks_like_mail(data) is answer


def added(mail: bytes) -> bytes:
    return with_header(mail, "X-Spam-Status", "No, p=0")


def test_a_header_is_added_first_and_nothing_else_is_changed():
    assert added(b"A: b\n\nbody") == b"X-Spam-Status: No, p=0\nA: b\n\nbody"
    assert added(FROM + b"A: b\n\nbody") == FROM + b"X-Spam-Status: No, p=0\nA: b\n\nbody"
    assert added(b"A: b\r\n\r\nbody") == b"X-Spam-Status: No, p=0\r\nA: b\r\n\r\nbody"


@pytest.mark.parametrize(
    "forged",
    [
        b"X-Spam-Status: No\n",
        b"x-SPAM-status: No\n",
        b"X-Spam-Status : No\n",
        b"X-Spam-Status: No,\n\tall well\n  indeed\n",
        b"X-Spam-Status: No\nX-Spam-Status: No\n",
        b"garbage\nX-Spam-Status: No\n",
    ],
)
def test_a_forged_header_is_removed(forged):
    mail = added(b"A: b\n" + forged + b"C: d\n\nX-Spam-Status: kept\n")
    head, body = mail.split(b"\n\n")
    assert re.findall(rb"(?i)spam-status.*", head) == [b"Spam-Status: No, p=0"]
    assert mail.replace(b"garbage\n", b"").endswith(b"A: b\nC: d\n\n" + body)
    assert body == b"X-Spam-Status: kept\n"


def test_a_header_hidden_behind_a_lone_carriage_return_is_removed():
    assert added(b"\rX-Spam-Status: No\n\n").endswith(b"0\n\n\n")
    assert added(b"A: b\rX-Spam-Status: No\rC: d\n\n") == b"X-Spam-Status: No, p=0\nA: b\rC: d\n\n"


@pytest.mark.parametrize(
    ("mail", "expected"),
    [
        (b"", b"H\n"),
        (b"\nbody", b"H\n\nbody"),
        (b"just text", b"H\n\njust text"),
        (b"A: b", b"H\nA: b"),
        (b"From x", b"From x\nH\n"),
        (b" lost\nA: b\n", b" lost\nH\nA: b\n"),
        (b"\nFrom x\nA: b\n\n", b"\nFrom x\nH\nA: b\n\n"),
    ],
)
def test_a_mail_without_headers_or_body_gets_the_header_too(mail, expected):
    assert with_header(mail, "X-Spam-Status", "No") == expected.replace(b"H", b"X-Spam-Status: No")


header_lines = st.sampled_from(
    [
        b"A: b\n",
        b"X-Spam-Status: No\n",
        b" more\n",
        b"\n",
        b"\r\n",
        b"From x\n",
        b"\r",
        b"x",
        b"\0\n",
    ]
)


@given(st.lists(header_lines, max_size=12).map(b"".join))
def test_the_body_of_any_mail_stays_and_adding_twice_is_adding_once(mail):
    once = added(mail)
    assert added(once) == once
    assert once.count(b"X-Spam-Status: No, p=0") == 1
    # Empty lines before a From line are the end of nothing.
    _, blank, body = re.sub(rb"\A\s*\n(?=From )", b"", mail).partition(b"\n\n")
    assert once.endswith(blank + body)


def test_an_mbox_with_headers_added_has_the_same_bodies_for_pythons_own_module(mails, tmp_path):
    before, after = tmp_path / "before", tmp_path / "after"
    write_mbox(before, mails)
    with before.open("rb") as lines:
        after.write_bytes(b"".join(added(row.raw) for row in read_mails(lines, "mbox", "box")))
    old, new = mails_of(before), mails_of(after)
    assert len(old) == len(new) == len(mails)
    header = re.compile(rb"X-Spam-Status: No, p=0\r?\n")
    assert [header.sub(b"", mail, count=1) for mail in new] == old
    assert all(map(header.search, new))
