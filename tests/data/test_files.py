import gzip
import threading
import time
from queue import Empty, Queue

import pytest

from spamgpt.data.files import find_files, follow, format_of, is_maildir, lines_of
from spamgpt.errors import BadDataError, MissingInputError


def make(folder, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"hi\n")


def maildir(folder, *names: str):
    for name in ("cur", "new", "tmp"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    make(folder, *names)
    return folder


@pytest.mark.parametrize(
    ("name", "format"),
    [
        ("a.eml", "eml"),
        ("a.MBOX", "mbox"),
        ("a.mbox.gz", "mbox"),
        ("a.csv.gz", "csv"),
        ("A.CSV.GZ", "csv"),
        ("a.txt", "lines"),
        ("a.Parquet", "jsonl"),
        ("a.xlsx", "jsonl"),
        ("cur/a", "lines"),
    ],
)
def test_the_name_tells_the_format(name, format, tmp_path):
    assert format_of(tmp_path / name) == format


def test_a_file_in_a_maildir_is_a_mail(tmp_path):
    maildir(tmp_path, "cur/1.2.host:2,S")
    assert format_of(tmp_path / "cur/1.2.host:2,S") == "eml"


def test_a_folder_stands_for_its_messages_in_order(tmp_path):
    make(tmp_path, "b.txt", "a/z.eml", "a/y.csv.gz", ".hidden.txt", ".git/a.txt", "a/picture.png")
    (tmp_path / "inbox").write_bytes(b"From a\n\nhi\n")
    found, left_out = find_files([tmp_path])
    assert [str(path.relative_to(tmp_path)) for path in found] == [
        "a/y.csv.gz",
        "a/z.eml",
        "b.txt",
        "inbox",
    ]
    assert left_out == [tmp_path / "a/picture.png"]
    assert tmp_path / "a/picture.png" in find_files([tmp_path], any_name=True)[0]


def test_of_a_maildir_only_the_mails_are_read_also_of_those_inside(tmp_path):
    maildir(tmp_path, "cur/2.b", "new/1.a", "tmp/3.c", "dovecot-uidlist", "cur/.x", ".Trash/notes")
    maildir(tmp_path / ".Sent", "cur/4.d", "maildirfolder")
    found, left_out = find_files([tmp_path])
    assert [str(path.relative_to(tmp_path)) for path in found] == [
        ".Sent/cur/4.d",
        "cur/2.b",
        "new/1.a",
    ]
    assert left_out == []


def test_an_empty_maildir_has_no_mails_and_an_empty_folder_is_an_error(tmp_path):
    assert find_files([maildir(tmp_path / "Maildir")]) == ([], [])
    assert is_maildir(tmp_path / "Maildir")
    (tmp_path / "empty").mkdir()
    with pytest.raises(MissingInputError, match="no messages in"):
        find_files([tmp_path / "empty"])


def test_a_file_that_is_not_there_is_told(tmp_path):
    make(tmp_path, "a.txt")
    with pytest.raises(MissingInputError, match=r"no file .*none\.txt"):
        find_files([tmp_path, tmp_path / "none.txt"])


def test_gzip_is_unpacked_and_a_damaged_one_told_after_the_lines_before(tmp_path):
    path = tmp_path / "a.txt.gz"
    whole = gzip.compress(b"".join(b"line %d\n" % n for n in range(20_000)))
    path.write_bytes(whole)
    assert sum(1 for _ in lines_of(path)) == 20_000
    assert sum(1 for _ in lines_of(path.rename(tmp_path / "A.TXT.GZ"))) == 20_000
    for damaged in (whole[: len(whole) // 2], b"not gzip at all"):
        path.write_bytes(damaged)
        with pytest.raises(BadDataError, match=r"a\.txt\.gz cannot be unpacked"):
            list(lines_of(path))


@pytest.fixture
def followed(tmp_path):
    """A file that is followed, and a function that gives its next line."""
    path = tmp_path / "log"
    path.write_bytes(b"old\n")
    lines: Queue[bytes] = Queue()
    begun = threading.Event()

    def read() -> None:
        source = follow(path, look_every=0.01)
        begun.set()
        for line in source:
            lines.put(line)
            if line == b"end\n":
                return

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    begun.wait()

    def append(data: bytes, to=path) -> None:
        with to.open("ab") as file:
            file.write(data)

    # Until the reader stands at the end of the file, lines go unseen.
    while True:
        append(b"first\n")
        try:
            lines.get(timeout=0.05)
            break
        except Empty:
            continue
    while not lines.empty():
        lines.get()
    yield path, append, lambda: lines.get(timeout=10)
    append(b"end\n")
    thread.join(timeout=10)
    assert not thread.is_alive()


def test_lines_come_when_they_are_whole(followed):
    _, append, next_line = followed
    append(b"one")
    append(b" line\ntwo\nthr")
    assert next_line() == b"one line\n"
    assert next_line() == b"two\n"
    append(b"ee\n")
    assert next_line() == b"three\n"


def test_a_rotated_file_is_read_to_its_end_and_its_successor_from_the_beginning(followed):
    path, append, next_line = followed
    old = path.with_name("log.1")
    append(b"last but one\n")
    path.rename(old)
    append(b"last", to=old)
    path.write_bytes(b"new\n")
    assert [next_line() for _ in range(3)] == [b"last but one\n", b"last\n", b"new\n"]


def test_a_file_replaced_at_once_is_followed(followed):
    path, _, next_line = followed
    successor = path.with_name("successor")
    successor.write_bytes(b"new\n")
    successor.replace(path)
    assert next_line() == b"new\n"


def test_a_file_that_was_cut_is_read_from_the_beginning(followed):
    path, append, next_line = followed
    append(b"before, and longer\n")
    assert next_line() == b"before, and longer\n"
    path.write_bytes(b"after\n")
    assert next_line() == b"after\n"


def test_a_file_that_is_not_there_yet_is_waited_for(tmp_path):
    path = tmp_path / "later"
    source = follow(path, look_every=0.01)
    threading.Timer(0.1, path.write_bytes, [b"hi\n"]).start()
    assert next(source) == b"hi\n"
    source.close()


def test_a_folder_under_the_name_of_a_followed_file_is_waited_out(followed):
    path, _, next_line = followed
    path.unlink()
    path.mkdir()
    time.sleep(0.1)
    path.rmdir()
    path.write_bytes(b"new\n")
    assert next_line() == b"new\n"


def test_a_long_line_comes_in_pieces_and_ends_where_its_file_ends(followed):
    path, append, next_line = followed
    append(b"a" * 200_000)
    assert next_line() == b"a" * 65_536
    path.unlink()
    path.write_bytes(b"new\n")
    come = b""
    while not come.endswith(b"\n"):
        come += next_line()
    assert come == b"a" * (200_000 - 65_536) + b"\n"
    assert next_line() == b"new\n"
