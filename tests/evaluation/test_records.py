from collections.abc import Mapping
from dataclasses import dataclass

import pytest

from spamgpt.evaluation.records import from_plain, to_plain


@dataclass(frozen=True)
class Inner:
    share: float
    pair: tuple[float, float] | None


@dataclass(frozen=True)
class Outer:
    name: str
    count: int
    sure: bool
    inner: Mapping[str, Inner]
    rows: tuple[tuple[int, ...], ...]


RECORD = Outer("a", 3, True, {"x": Inner(1.0, (0.5, 1.0)), "y": Inner(0.0, None)}, ((1, 2), (3, 4)))


def test_a_record_comes_back_as_it_was():
    plain = to_plain(RECORD)
    assert plain["rows"] == [[1, 2], [3, 4]]
    assert plain["inner"]["x"] == {"share": 1.0, "pair": [0.5, 1.0]}
    assert from_plain(Outer, plain) == RECORD


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("name", 3, "name cannot be 3"),
        ("count", 1.5, r"count cannot be 1\.5"),
        ("count", True, "count cannot be True"),
        ("sure", 1, "sure cannot be 1"),
        ("rows", "12", "rows cannot be '12'"),
        ("inner", {"x": {"share": 1}}, "x has no pair"),
        ("inner", {"x": {"share": 1, "pair": [1]}}, "pair has 1 values, not 2"),
    ],
)
def test_the_field_that_is_not_as_it_should_be_is_named(field, value, said):
    with pytest.raises(ValueError, match=said):
        from_plain(Outer, to_plain(RECORD) | {field: value})


def test_a_whole_number_serves_as_a_share():
    assert from_plain(float, 1) == 1.0
