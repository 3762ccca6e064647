from dataclasses import replace

import pytest

from spamgpt.classifier.config import ClassifierConfig
from spamgpt.classifier.formats.expressible import require_plain
from spamgpt.errors import UsageError

PLAIN = ClassifierConfig(["ham", "spam"], "spam", 0.5, "all")


def test_a_plain_classifier_can_be_expressed():
    require_plain(PLAIN, "transformers")


@pytest.mark.parametrize(
    ("setting", "value"), [("pooling", "mean"), ("attention", "full"), ("padding", 40)]
)
def test_the_setting_that_cannot_be_expressed_is_named(setting, value):
    with pytest.raises(UsageError, match=f"transformers cannot express `{setting}={value}`"):
        require_plain(replace(PLAIN, **{setting: value}), "transformers")
