import io

import pytest

from spamgpt.data.inputs import read_messages
from spamgpt.errors import BadDataError

MAIL = b"Subject: hello\n\nsee you\n"


def texts(name: str, data: bytes, **options) -> list[str]:
    return [message.text for message in read_messages(name, io.BytesIO(data), **options)]


def test_the_format_is_told_by_the_name_or_by_the_beginning():
    assert texts("a.txt", b"one\ntwo\n") == ["one", "two"]
    assert texts("a.jsonl", b'{"text": "one"}\n') == ["one"]
    assert texts("a.eml", MAIL) == ["hello\nsee you"]
    assert texts("inbox", b"From me@b Mon Nov 23 08:00:00 2026\n" + MAIL) == ["hello\nsee you"]
    assert texts("standard input", MAIL) == ["Subject: hello", "", "see you"]
    assert texts("standard input", MAIL, untold="eml") == ["hello\nsee you"]
    assert texts("a.txt", b'{"text": "one"}\n', format="jsonl") == ["one"]
    assert texts("a.txt", b"") == []


def test_a_whole_input_is_one_message_a_mail_or_a_text():
    assert texts("standard input", MAIL, whole=True) == ["hello\nsee you"]
    assert texts("standard input", b"see you\nthen\n", whole=True) == ["see you\nthen"]


def test_the_other_fields_are_as_the_input_has_them():
    data = b'{"text": "one", "label": "x", "n": [1, null]}\n'
    (message,) = read_messages("a.jsonl", io.BytesIO(data))
    assert message.others == {"label": "x", "n": [1, None]}
    (message,) = read_messages("a.csv", io.BytesIO(b"text,body\na,b\n"), text_column="body")
    assert (message.text, message.others) == ("b", {"text": "a"})
    assert message.size == len("a,b") + 1


def test_a_row_without_the_text_is_named():
    with pytest.raises(BadDataError, match=r"a\.csv, line 2: has no 'text'") as caught:
        texts("a.csv", b"body\nhello\n")
    assert caught.value.hint == "The columns are body. Correct or remove the row."
