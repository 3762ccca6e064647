import pytest

from spamgpt.errors import IntegrityError, NetworkError
from spamgpt.reporting import Reporter
from spamgpt.sources.preferred import Substitution, fetch_or_substitute


class Warnings(Reporter):
    def __init__(self) -> None:
        self.texts: list[str] = []

    def warn(self, text: str) -> None:
        self.texts.append(text)


def test_what_comes_is_not_substituted():
    heard = Warnings()
    assert fetch_or_substitute("model", "gpt2", "mini", lambda *given: given, heard) == (
        "gpt2",
        None,
    )
    assert heard.texts == []


def test_what_does_not_come_is_substituted_with_two_warnings():
    def fetch(source: str, substitution: Substitution | None) -> Substitution:
        if substitution is None:
            raise NetworkError("no server answered.", "Check the network.")
        assert source == substitution.used
        return substitution

    heard = Warnings()
    found = fetch_or_substitute("dataset", "sms", "bundled", fetch, heard)
    assert found == Substitution("dataset", "sms", "bundled", "no server answered.")
    assert heard.texts == [
        "The data set sms could not be fetched: no server answered.",
        "USING THE BUNDLED bundled INSTEAD. To insist, fetch with `dataset=sms`; "
        "to work without a network, with `offline=True`.",
    ]


def test_a_wrong_file_is_no_reason_to_substitute():
    def fetch(source: str, substitution: Substitution | None) -> None:
        raise IntegrityError("not the published file", "Try again.")

    with pytest.raises(IntegrityError):
        fetch_or_substitute("model", "gpt2", "mini", fetch, Warnings())
