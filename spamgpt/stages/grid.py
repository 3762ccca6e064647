"""The TOML file of a sweep: which settings are tried, with which seeds, on which data."""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from spamgpt.bundled import SWEEPS_FOLDER
from spamgpt.data.rows import SPLITS
from spamgpt.errors import BadDataError, MissingInputError
from spamgpt.stages.fetch import Weights
from spamgpt.stages.plan import FinetuneSettings, as_published
from spamgpt.stages.prepare import PrepareSettings

_EXAMPLE = 'Such as: seeds = [1, 2, 3], unfreeze = ["head", "last-block"]'
# What a row may not choose: seeds are the file's, data is shared, and how it is computed changes
# no result.
_NOT_OF_A_ROW = {"seed", "prepared", "device", "cache_limit", "shard", "checkpoint_activations"}


@dataclass(frozen=True)
class Row:
    """One combination of settings, trained once with every seed.

    `settings` have no model, seed or data yet. `published` are the accuracies that others found, in
    percent, by split.
    """

    name: str
    settings: FinetuneSettings
    model: str | None
    weights: Weights
    published: Mapping[str, float] | None


@dataclass(frozen=True)
class Grid:
    """What a file asks for. `prepare` is how the data is made; None takes `prepared`."""

    name: str
    seeds: Sequence[int]
    prepared: str | None
    prepare: PrepareSettings | None
    rows: Sequence[Row]


def find_grid(named: str) -> Path:
    """The file of this path or, if there is none, the bundled one of this name."""
    bundled = SWEEPS_FOLDER / f"{Path(named).stem}.toml"
    if Path(named).is_file():
        return Path(named)
    if named in (bundled.stem, bundled.name) and bundled.is_file():
        return bundled
    have = ", ".join(path.stem for path in sorted(SWEEPS_FOLDER.glob("*.toml")))
    raise MissingInputError(
        f"There is no file {named}.", f"Check the path, or name a bundled sweep: {have}."
    )


def read_grid(path: Path) -> Grid:
    """Reads and checks a file; raises BadDataError naming the file and the key.

    Settings at the top hold for every row. A setting that is a list is tried with each value: a row
    with two such lists becomes a row for every pair.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BadDataError(f"{path} is not TOML: {error}.", _EXAMPLE) from error
    top = dict(content)
    tables = top.pop("run", [{}])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise _bad(path, "run", "is not a list of tables", "Begin each with [[run]].")
    seeds = top.pop("seeds", [123])
    if not _is_list_of_seeds(seeds):
        raise _bad(path, "seeds", f"is {seeds!r}, not a list of different whole numbers from 0")
    prepared = top.pop("prepared", None)
    _check(path, "prepared", prepared, str | None)
    prepare = _prepare_settings(path, top.pop("prepare", None), prepared)
    rows: list[Row] = []
    for number, table in enumerate(tables, start=1):
        where = f"run {table.get('name', number)!r}: "
        for key in table:
            if key not in ("name", "published"):
                _check_setting(path, where, key, table[key])
        if number == 1:
            for key in top:
                _check_setting(path, "", key, top[key])
        rows += _rows(path, where, table, {**top, **table})
    names = [row.name for row in rows]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise _bad(path, "name", f"{twice!r} is the name of two runs")
    return Grid(path.stem, seeds, prepared, prepare, rows)


def _prepare_settings(path: Path, table: Any, prepared: str | None) -> PrepareSettings | None:
    if table is None:
        return None
    if not isinstance(table, dict):
        raise _bad(path, "prepare", "is not a table", "Begin it with [prepare].")
    if prepared is not None:
        raise _bad(path, "prepared", "stands beside [prepare]", "Leave one of them out.")
    hints = get_type_hints(PrepareSettings)
    for key, value in table.items():
        if key not in hints:
            raise _unknown(path, f"prepare.{key}", hints)
        _check(path, f"prepare.{key}", value, hints[key])
    return PrepareSettings(**table)


def _rows(
    path: Path, where: str, table: Mapping[str, Any], values: dict[str, Any]
) -> Iterator[Row]:
    """The rows of a table, whose settings and those above it are `values`."""
    name, published = values.pop("name", None), values.pop("published", None)
    _check(path, f"{where}name", name, str | None)
    if published is not None and not (
        isinstance(published, dict)
        and published.keys() == set(SPLITS)
        and all(_fits(value, float) for value in published.values())
    ):
        raise _bad(path, f"{where}published", "is not a table of train, validation and test")
    varied = [key for key, value in values.items() if isinstance(value, list)]
    for chosen in product(*(values[key] for key in varied)):
        single = values | dict(zip(varied, chosen, strict=True))
        told = [f"{key}={single[key]}" for key in values if key in varied or key in table]
        called = name or (", ".join(told) or "the settings above")
        if name and varied:
            called += ", " + ", ".join(f"{key}={single[key]}" for key in varied)
        model, weights = single.pop("model", None), single.pop("weights", "pretrained")
        settings = FinetuneSettings(**single)
        if settings.recipe:
            settings = as_published(settings, single.keys())
        yield Row(called, settings, model, weights, published)


def _check_setting(path: Path, where: str, key: str, value: Any) -> None:
    """Raises BadDataError unless a setting exists and its value, or each in a list, fits it."""
    hints = _settings_of_a_row()
    if key not in hints:
        if key == "seed":
            raise _bad(path, f"{where}seed", "is not for one run", "Write: seeds = [1, 2, 3]")
        raise _unknown(path, f"{where}{key}", hints)
    values = value if isinstance(value, list) else [value]
    if not values:
        raise _bad(path, f"{where}{key}", "is an empty list")
    for each in values:
        _check(path, f"{where}{key}", each, hints[key])


def _settings_of_a_row() -> dict[str, Any]:
    hints = {
        name: hint
        for name, hint in get_type_hints(FinetuneSettings).items()
        if name not in _NOT_OF_A_ROW
    }
    return hints | {"weights": Weights}


def _check(path: Path, key: str, value: Any, hint: Any) -> None:
    if not _fits(value, hint) and not (value is None and type(None) in get_args(hint)):
        raise _bad(path, key, f"is {value!r}, not {_in_words(hint)}")


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value from TOML, which knows no None, is of an annotated type."""
    if get_origin(hint) in (Union, UnionType):
        return any(_fits(value, each) for each in get_args(hint))
    if get_origin(hint) is Literal:
        return isinstance(value, str) and value in get_args(hint)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return hint is not type(None) and isinstance(value, hint)


def _in_words(hint: Any) -> str:
    if get_origin(hint) in (Union, UnionType):
        return " or ".join(_in_words(each) for each in get_args(hint) if each is not type(None))
    if get_origin(hint) is Literal:
        return " or ".join(map(repr, get_args(hint)))
    return {int: "a whole number", float: "a number", str: "a string", bool: "true or false"}[hint]


def _is_list_of_seeds(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) > 0
        and all(_fits(seed, int) and 0 <= seed < 2**31 for seed in value)
        and len(set(value)) == len(value)
    )


def _bad(path: Path, key: str, problem: str, hint: str = _EXAMPLE) -> BadDataError:
    return BadDataError(f"{path}, {key} {problem}.", hint)


def _unknown(path: Path, key: str, known: Mapping[str, Any]) -> BadDataError:
    return _bad(path, key, "is no setting", f"There are {', '.join(known)}.")
