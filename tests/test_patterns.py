"""The messages written for training: filled in, as many as asked for, and the same each time."""

import re

import pandas as pd

from recipes.labelled import sources
from recipes.patterns import PATTERNS, written


def test_messages_are_filled_in_and_drawn_by_the_seed():
    names = [name for name, source in sources().items() if not source.scored]
    found = written(seed=3, count=200)
    assert found.groupby(["source", "label"]).size().to_dict() == {
        (source, label): 200 for source in names for label in ("ham", "spam")
    }
    assert not found["text"].str.contains("[{}]").any()
    assert not found["text"].duplicated().any()
    pd.testing.assert_frame_equal(found, written(seed=3, count=200))
    assert not found.equals(written(seed=4, count=200))


def test_what_imitates_companies_leads_elsewhere():
    patterns = pd.read_csv(PATTERNS)
    assert not patterns.duplicated().any()
    named = (
        patterns.groupby("label")["pattern"]
        .agg(" ".join)
        .map(lambda text: re.findall(r"{(\w+)}", text))
    )
    assert "url" not in named["spam"]
    assert "evil" not in named["ham"]
    assert patterns["language"].nunique() > 20
