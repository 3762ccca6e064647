"""Whatever is read: every input gets answers or one line of error, in bounded memory and time."""

import gc
import gzip
import io
import json
import mailbox
import subprocess
import sys
import time
import zlib
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from benchmarks.faults.fuzzed import FORMATS, TOKENS
from spamgpt.data.files import find_files, lines_of
from spamgpt.data.inputs import Limits, read_messages
from spamgpt.data.json_values import json_text
from spamgpt.data.mail import fields_of, looks_like_mail, with_header
from spamgpt.data.records import Record
from spamgpt.errors import BadDataError, SpamgptError

SMALL = Limits(message_size=400, whole=True, strict=False)
INPUTS = st.lists(st.sampled_from(TOKENS) | st.binary(max_size=20), max_size=30).map(b"".join)


def read(data: bytes, format: str, **options) -> list:
    """The messages of an input, or its error."""
    try:
        return list(read_messages("in", io.BytesIO(data), format, limits=SMALL, **options))
    except SpamgptError as error:
        return [error]


@pytest.mark.parametrize("format", FORMATS)
@settings(max_examples=150)
@given(data=INPUTS)
def test_every_input_is_answered_or_told_in_one_line(format, data):
    for found in read(data, format):
        if isinstance(found, SpamgptError):
            assert "\n" not in found.message
            continue
        assert len(found.row.raw) <= 400 or format == "csv"
        text = json_text({"text": found.text, **found.others})
        json.loads(text, parse_constant=pytest.fail)
        assert found.row.error is None or "\n" not in found.row.error.message
        if format == "eml":
            assert with_header(found.row.raw, "X-Spam-Status", "No")


@settings(max_examples=100)
@given(data=INPUTS, encoding=st.sampled_from(["utf-16-le", "latin-1", "utf-32-be", "shift_jis"]))
def test_text_in_any_encoding_is_answered(data, encoding):
    assert not any(isinstance(each, Exception) for each in read(data, "lines", encoding=encoding))
    assert len(read(data, "auto", whole=True)) == 1
    looks_like_mail(data)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=INPUTS, cut=st.integers(0, 40), flip=st.integers(0, 40))
@example(b"hi", 0, 0)
def test_damaged_gzip_is_answered_or_told(tmp_path, data, cut, flip):
    packed = bytearray(gzip.compress(data))
    packed[flip % len(packed)] ^= 0xFF
    file = tmp_path / "a.txt.gz"
    file.write_bytes(packed[: len(packed) - cut] if cut < len(packed) else packed)
    with suppress(BadDataError):
        list(read_messages(str(file), lines_of(file), limits=SMALL))


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(mails=st.lists(INPUTS, min_size=1, max_size=4))
def test_every_mail_of_a_maildir_and_of_an_mbox_is_answered(tmp_path_factory, mails):
    folder = tmp_path_factory.mktemp("box") / "Maildir"
    box = mailbox.Maildir(folder)
    for mail in mails:
        box.add(mail)
    files, _ = find_files([folder])
    found = [each for file in files for each in read_messages(str(file), lines_of(file))]
    assert len(found) == len(mails)
    if all(b"From " not in mail for mail in mails):
        data = b"".join(b"From a@b\n" + mail + b"\n" for mail in mails)
        assert len(read(data, "mbox")) == len(mails)


# A quadratic reader takes minutes for these.
MEGABYTE = 1_000_000
HTML, TEXT = b"Content-Type: text/html\n\n", b"Subject: hi\n\n"
SLOW_MAILS = {
    "plain": TEXT + b"win a free prize\n" * (MEGABYTE // 17),
    "angles": HTML + b"<" * MEGABYTE,
    "open tags": HTML + b"<a b='" * (MEGABYTE // 6),
    "declarations": HTML + b"<![CDATA[" * (MEGABYTE // 9),
    "subject": b"Subject: " + b"free prize " * (9 * MEGABYTE // 11) + b"\n\nhi",
    "base64": b"Content-Transfer-Encoding: base64\n\n" + b"YWJj" * (40 * MEGABYTE // 4),
    "encoded words": b"Subject: " + b"=?utf-8?q?a?= " * (MEGABYTE // 14) + b"\n\nhi",
    "encoded words without end": b"Subject: " + b"=?utf-8?q?" * (MEGABYTE // 10) + b"\n\nhi",
    "parameters": b"Content-Type: text/plain" + b";" * MEGABYTE + b"\n\nhi",
    "nested": b"".join(
        b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (depth, depth)
        for depth in range(99)
    )
    + b"x\n" * (MEGABYTE // 2),
}


@pytest.mark.parametrize("name", SLOW_MAILS)
def test_a_mail_takes_time_that_grows_as_it_does(name):
    begin = time.process_time()
    fields_of(SLOW_MAILS[name])
    assert time.process_time() - begin < 10


@pytest.mark.parametrize("line", [b'"\n', b'a","\n', b'"a"b\n', b'x,"\n'])
def test_rows_with_stray_quotes_take_time_that_grows_as_they_do(line):
    data = b"text\n" + line * (MEGABYTE // 8 // len(line))
    begin = time.process_time()
    assert list(read_messages("a.csv", io.BytesIO(data), limits=Limits(MEGABYTE, strict=False)))
    assert time.process_time() - begin < 10


UNENDING = """
import io, itertools, resource, sys, gzip
from spamgpt.data.inputs import Limits, read_messages
from benchmarks.faults.fuzzed import FORMATS, TOKENS
from spamgpt.data.files import lines_of
from pathlib import Path

resource.setrlimit(resource.RLIMIT_DATA, (150 << 20, 150 << 20))
format, name = sys.argv[1:]
lines = lines_of(Path(name)) if name else open(0, "rb")
limits = Limits(1 << 20, strict=False)
sizes = [
    (len(m.text), m.row.raw.length) for m in read_messages("in", lines, format, limits=limits)
]
print(sizes)
"""


@pytest.mark.parametrize("format", ["lines", "tsv", "csv", "jsonl", "eml", "mbox", "gzip"])
def test_a_record_of_200_megabytes_is_read_in_little_memory(tmp_path, format):
    part = b"win a free prize " * 61_681  # a MiB
    file = tmp_path / "a.txt.gz"
    begin = {"csv": b"text\n", "tsv": b"label\ttext\n"}.get(format, b"")
    if format == "gzip":
        packer = zlib.compressobj(1, wbits=31)
        file.write_bytes(b"".join(packer.compress(part) for _ in range(200)) + packer.flush())
    command = [sys.executable, "-c", UNENDING, "lines" if format == "gzip" else format]
    command.append(str(file) if format == "gzip" else "")
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    process.stdin.write(begin)
    for _ in range(0 if format == "gzip" else 200):
        process.stdin.write(part)
    out, _ = process.communicate()
    ((text, whole),) = json.loads(out.replace(b"(", b"[").replace(b")", b"]"))
    assert 900_000 < text <= 1 << 20
    assert whole == 200 * len(part)


def test_a_record_whose_source_breaks_off_leaves_no_file_open():
    record = Record(limit=8, whole=True)
    for _ in range(4):
        record.add(b"12345678")
    middle = record._middle
    assert middle is not None
    file = middle._file
    del record, middle
    gc.collect()
    assert file.closed
