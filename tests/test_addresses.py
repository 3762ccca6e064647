import pytest

from spamgpt.addresses import without_secrets
from spamgpt.errors import NetworkError


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://host/a.csv", "https://host/a.csv"),
        ("https://user:geheim@host:8080/a.csv", "https://***@host:8080/a.csv"),
        ("https://geheim@host/a.csv", "https://***@host/a.csv"),
        ("http://user:ge@heim@host/a.csv", "http://***@host/a.csv"),
        ("https://host/a.csv?token=geheim", "https://host/a.csv?token=***"),
        ("https://host/a.csv?v=1&sig=ge%2Fheim=&x=", "https://host/a.csv?v=***&sig=***&x="),
        ("https://host/a.csv?geheim", "https://host/a.csv?***"),
        ("https://host/a.csv#key=geheim", "https://host/a.csv#***"),
        ("https://host/a.csv?v=1#geheim", "https://host/a.csv?v=***#***"),
        ("ftp://user:geheim@host", "ftp://***@host"),
        ("Max retries exceeded with url: /a.csv?key=geheim (x)", None),
        ("mail@example.com and C#, is that so? a=b", "mail@example.com and C#, is that so? a=b"),
        ("There is no file data/msgs-?.csv or /tmp/a?b.",) * 2,
        ("https://host/@owner/data", "https://host/@owner/data"),
        ("https://host/a.csv is gone. #1?", "https://host/a.csv is gone. #1?"),
        ("http://user:ge/heim@host/a.csv", "http://***@host/a.csv"),
        ("http://[::1]:8080/a.csv", "http://[::1]:8080/a.csv"),
        (
            "two: http://a:geheim@b/ and http://c?d=geheim.",
            "two: http://***@b/ and http://c?d=***.",
        ),
    ],
)
def test_who_asks_and_with_which_key_is_hidden_and_the_rest_is_kept(address, shown):
    found = without_secrets(address)
    assert "geheim" not in found
    assert "heim" not in found
    if shown is not None:
        assert found == shown
    assert without_secrets(found) == found


def test_no_error_tells_a_secret():
    error = NetworkError("http://a:geheim@b/ is gone.", "Is http://b/?key=geheim right?")
    assert "geheim" not in f"{error} {error.message} {error.hint} {error!r}"
    assert error.message == "http://***@b/ is gone."
