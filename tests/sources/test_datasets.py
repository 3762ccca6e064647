import hashlib
import io
import zipfile
from pathlib import Path

import pytest

from spamgpt.errors import IntegrityError, MissingInputError, NetworkError, SpamgptError
from spamgpt.reporting import SILENT
from spamgpt.sources import datasets
from spamgpt.sources.datasets import (
    SMS_SPAM_COLLECTION,
    FetchedDataset,
    PublishedDataset,
    obtain_dataset,
)

CONTENT = b"ham\tsee you\nspam\tWIN a prize\n" * 200


def zipped(members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", compression) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return archive.getvalue()


GOOD = zipped({"SMSSpamCollection": CONTENT, "readme": b"about"})


OFFICIAL, BACKUP = "/official/collection.zip", "/backup/collection.zip"


@pytest.fixture
def obtain(tmp_path, server):
    """Obtains a data set, the published one having two addresses on the server.

    The last part of both addresses is the same, as it is for the real ones.
    """
    published = PublishedDataset(
        "sms-spam-collection",
        (server.url + OFFICIAL, server.url + BACKUP),
        "SMSSpamCollection",
        hashlib.sha256(CONTENT).hexdigest(),
    )
    folder = tmp_path / "downloads"
    folder.mkdir()

    def run(source: object = published.name) -> FetchedDataset:
        return obtain_dataset(str(source), folder, SILENT, published)

    return run


def test_the_official_address_comes_first(obtain, server):
    server.put(OFFICIAL, GOOD)
    server.put(BACKUP, GOOD)
    found = obtain()
    assert found.name == "sms-spam-collection"
    assert found.file.read_bytes() == CONTENT
    assert [path for _, path, _ in server.requests] == [OFFICIAL]


@pytest.mark.parametrize(
    "broken",
    [
        {"status": 404},
        {"status": 503},
        {"content": GOOD, "truncate": 50},
        {"content": GOOD, "truncate": 50, "stall": True},
        {"content": b"<html>Not a zip</html>"},
        {"content": GOOD[:-30]},
        {"content": zipped({"SMSSpamCollection": CONTENT + b"!"})},
        {"content": zipped({"other": CONTENT})},
    ],
)
def test_whatever_is_wrong_with_the_official_address_the_backup_serves(obtain, server, broken):
    server.put(OFFICIAL, **broken)
    # A mirror packs an archive of its own: other bytes, the same member.
    server.put(BACKUP, zipped({"SMSSpamCollection": CONTENT}, zipfile.ZIP_STORED))
    found = obtain()
    assert found.file.read_bytes() == CONTENT
    assert found.origin == server.url + BACKUP


def test_both_failures_are_told_in_one_line(obtain, server):
    server.put(OFFICIAL, status=503)
    server.put(BACKUP, GOOD, truncate=50)
    with pytest.raises(NetworkError) as caught:
        obtain()
    assert "answered 503" in caught.value.message
    assert "ended before the whole file had come" in caught.value.message
    assert server.url + OFFICIAL in caught.value.message
    assert server.url + BACKUP in caught.value.message
    assert "\n" not in caught.value.message
    assert "`dataset=URL`" in caught.value.hint
    assert caught.value.exit_status == 5


def test_a_wrong_hash_tells_what_came_and_what_was_expected(obtain, server):
    wrong = CONTENT + b"!"
    for path in (OFFICIAL, BACKUP):
        server.put(path, zipped({"SMSSpamCollection": wrong}))
    with pytest.raises(IntegrityError) as caught:
        obtain()
    assert hashlib.sha256(wrong).hexdigest() in caught.value.message
    assert hashlib.sha256(CONTENT).hexdigest() in caught.value.message


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ({"status": 404}, "answered 404"),
        ({"status": 503}, "answered 503"),
        ({"content": CONTENT, "truncate": 50}, "ended before the whole file"),
        ({"content": CONTENT, "truncate": 50, "stall": True}, "did not answer within 1 seconds"),
    ],
)
def test_a_url_that_does_not_serve_is_a_network_error(obtain, server, how, reason):
    url = server.put("/data.csv", **how)
    with pytest.raises(NetworkError, match=reason) as caught:
        obtain(url)
    assert caught.value.message.startswith(url)


def test_a_server_that_cannot_be_reached_is_a_network_error(obtain, nowhere):
    with pytest.raises(NetworkError, match="cannot be reached"):
        obtain(f"{nowhere}/data.csv")


def test_an_address_that_is_none_is_a_network_error(obtain):
    for url in ("gopher://127.0.0.1/data.csv", "http://", "http://[/data.csv"):
        with pytest.raises(NetworkError, match="could not be downloaded"):
            obtain(url)


@pytest.mark.parametrize("name", ["%00", "a%2F..%2F..", "v1", "n" * 300 + ".csv", ""])
def test_a_url_may_end_in_anything(obtain, server, tmp_path, name):
    found = obtain(server.put(f"/{name}", CONTENT + b"!"))
    assert found.file.read_bytes() == CONTENT + b"!"
    assert tmp_path / "downloads" in found.file.parents
    assert found.name not in ("", "v1")  # the latter could not be told from a version


@pytest.mark.parametrize("name", ["data.csv", "data.tsv", "data.jsonl", "my%20data.csv"])
def test_a_url_may_serve_any_format(obtain, server, name):
    found = obtain(server.put(f"/some/{name}?version=2", b"text,label\nhi,ham\n"))
    assert found.file.suffix == Path(name).suffix
    assert found.name in ("data", "my-data")


def test_a_mirror_of_the_collection_is_known_by_its_member(obtain, server):
    found = obtain(server.put("/mirror.zip", zipped({"SMSSpamCollection": CONTENT})))
    assert found.name == "sms-spam-collection"
    with pytest.raises(IntegrityError, match="is not the published file"):
        obtain(server.put("/mirror.zip", zipped({"SMSSpamCollection": b"ham\tother\n"})))


def test_an_archive_with_one_data_file_is_taken(obtain, server):
    for member in ("mine.csv", "folder/MINE.CSV", "mine.ndjson"):
        members = {"./": b"", member: CONTENT + b"!", "readme": b""}
        found = obtain(server.put("/a.zip", zipped(members)))
        assert (found.name, found.file.suffix) == ("mine", Path(member).suffix.lower())
        assert found.file.read_bytes() == CONTENT + b"!"


def test_an_archive_may_have_the_name_of_what_it_holds(obtain, server):
    content = bytes(100_000)  # more than what is read of an archive at a time
    packed = zipped({"mine.csv": content}, zipfile.ZIP_STORED)
    assert obtain(server.put("/mine.csv", packed)).file.read_bytes() == content


def test_an_archive_with_no_or_two_data_files_is_refused(obtain, server):
    for members in ({"a.csv": b"", "b.csv": b""}, {"readme": b""}):
        with pytest.raises(IntegrityError, match="data files"):
            obtain(server.put("/a.zip", zipped(members)))


@pytest.mark.parametrize(
    "evil",
    [
        "../evil.csv",
        "/etc/evil.csv",
        "a/../../evil.csv",
        "..\\evil.csv",
        "C:\\evil.csv",
        "C:evil.csv",
        "a/C:evil.csv",
    ],
)
def test_an_archive_that_leads_out_of_its_folder_is_refused(obtain, server, tmp_path, evil):
    server.put(OFFICIAL, zipped({"SMSSpamCollection": CONTENT, evil: b"evil"}))
    with pytest.raises(IntegrityError, match="not safe to unpack"):
        obtain(server.url + OFFICIAL)
    assert not list(tmp_path.rglob("*evil*"))


def test_an_archive_that_unpacks_to_too_much_is_refused(obtain, server, tmp_path):
    bomb = zipped({"bomb.csv": bytes(datasets.LARGEST_UNPACKED + 1)})
    assert len(bomb) < 200_000
    with pytest.raises(IntegrityError, match="more than the 100,000,000 allowed"):
        obtain(server.put("/bomb.zip", bomb))
    assert not list(tmp_path.rglob("bomb.csv"))


def test_an_archive_cannot_lie_about_its_size(obtain, server, tmp_path):
    content = bytes(5_000_000)
    bomb = bytearray(zipped({"bomb.csv": content}))
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        place = bomb.index(signature) + offset
        bomb[place : place + 4] = (1000).to_bytes(4, "little")
    with pytest.raises(IntegrityError, match="Bad CRC-32"):
        obtain(server.put("/bomb.zip", bytes(bomb)))
    assert sum(file.stat().st_size for file in tmp_path.rglob("bomb.csv")) <= 1000


def test_a_damaged_or_encrypted_archive_is_refused(obtain, server):
    damaged = bytearray(GOOD)
    damaged[60] ^= 255
    with pytest.raises(IntegrityError, match=r"/a\.zip cannot be unpacked"):
        obtain(server.put("/a.zip", bytes(damaged)))
    encrypted = bytearray(GOOD)
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        encrypted[encrypted.index(signature) + offset] |= 1
    with pytest.raises(IntegrityError, match="encrypted, password required"):
        obtain(server.put("/a.zip", bytes(encrypted)))


def test_an_archive_that_lost_its_end_is_not_read_as_a_table(obtain, server):
    with pytest.raises(IntegrityError, match="cannot be unpacked"):
        obtain(server.put("/a.zip", GOOD[:-30]))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_an_archive_packed_by_a_rare_method_is_refused(obtain, server, method):
    """Of those, zipfile unpacks all that there is before it cuts it to the declared size."""
    with pytest.raises(IntegrityError, match="not packed by the common method"):
        obtain(server.put("/a.zip", zipped({"a.csv": CONTENT}, method)))


def test_a_local_file_stays_where_it_is(obtain, tmp_path):
    file = tmp_path / "My Messages.csv"
    file.write_text("label,text\nham,hi\n")
    found = obtain(file)
    assert (found.name, found.file) == ("my-messages", file)


def test_a_local_copy_of_the_collection_is_known_by_its_content(obtain, tmp_path):
    file = tmp_path / "whatever.txt"
    file.write_bytes(CONTENT)
    assert obtain(file).name == "sms-spam-collection"


def test_the_bundled_messages_need_no_network(obtain, server):
    found = obtain("bundled-messages")
    assert found.name == "bundled-messages"
    assert found.file.read_text(encoding="utf-8").startswith('"label","kind","text"\n')
    assert server.requests == []


def test_a_missing_file_is_told_with_what_there_could_be(obtain, tmp_path):
    with pytest.raises(MissingInputError) as caught:
        obtain(tmp_path / "none.csv")
    assert "sms-spam-collection" in caught.value.hint


def test_the_published_hash_is_that_of_the_real_file(sms_collection, tmp_path, server):
    content = sms_collection.read_bytes()
    url = server.put("/sms+spam+collection.zip", zipped({"SMSSpamCollection": content}))
    found = obtain_dataset(url, tmp_path, SILENT)
    assert found.name == SMS_SPAM_COLLECTION.name
    assert found.file.read_bytes() == content


def test_damage_anywhere_ends_with_an_error_for_users_or_does_no_harm(obtain, server):
    for place in range(0, len(GOOD), 7):
        damaged = bytearray(GOOD)
        damaged[place] ^= 0x55
        server.put("/a.zip", bytes(damaged))
        try:
            found = obtain(f"{server.url}/a.zip")
        except SpamgptError:
            continue
        # Nobody reads the date of a member, for one.
        assert found.file.read_bytes() == CONTENT
