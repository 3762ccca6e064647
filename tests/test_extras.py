import pytest

from spamgpt.errors import MissingInputError
from spamgpt.extras import require


def test_a_library_that_is_there_is_no_matter():
    require("test", "json", "pytest")


def test_a_missing_library_is_named_with_the_extra_that_brings_it():
    with pytest.raises(MissingInputError) as caught:
        require("onnx", "json", "no_such_library")
    assert caught.value.message == "This needs no_such_library, which is not installed."
    assert caught.value.hint == "Install it: pip install 'spamgpt[onnx]'"
