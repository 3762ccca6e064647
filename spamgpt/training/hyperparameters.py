"""The hyper-parameters of a fine-tuning: those given, those a model recommends, the published."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from spamgpt.errors import BadDataError, UsageError
from spamgpt.training.schedule import Schedule

PretrainingOptimizer = Literal["muon", "adamw"]
# The highest learning rate of pre-training unless another is given.
PRETRAINING_RATES: Mapping[PretrainingOptimizer, float] = {"muon": 3e-3, "adamw": 1e-3}

# Raschka 2024, chapter 6.
PUBLISHED_RECIPE: Mapping[str, int | float | str] = {
    "epochs": 5,
    "batch_size": 8,
    "learning_rate": 5e-5,
    "weight_decay": 0.1,
    "schedule": "constant",
}
# Beyond every sensible value.
_MOST = 1_000_000
_POLICIES = ("head", "last-block", "all")
_EXAMPLE = 'Write, for example: {"last-block": {"epochs": 5, "learning_rate": 5e-5}}'


@dataclass(frozen=True)
class Hyperparameters:
    """How to fine-tune; with `keep_best` the epoch with the lowest validation loss is kept.

    `learning_rate` is the highest of the `schedule` (`learning_rate_factor`).
    """

    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    schedule: Schedule
    seed: int
    keep_best: bool

    def __str__(self) -> str:
        rising = ", with warm-up and linear decay to 0" if self.schedule == "linear" else ""
        return (
            f"for {self.epochs} epochs in batches of {self.batch_size} at a learning rate of "
            f"{self.learning_rate:g}{rising}"
        )


def with_recommendations(
    given: Mapping[str, Any],
    recommended: Mapping[str, Any],
    seed: int,
    keep_best: bool,
) -> Hyperparameters:
    """The given values or, where one is missing or None, the recommended or else the published.

    Raises UsageError for a given value that cannot be.
    """
    chosen = {name: given[name] for name in PUBLISHED_RECIPE if given.get(name) is not None}
    for name, value in chosen.items():
        if wish := _unmet_wish(name, value):
            raise UsageError(f"`{name}` is {value!r}; it has to be {wish}.", "Give another value.")
    values: dict[str, Any] = {**PUBLISHED_RECIPE, **recommended, **chosen}
    for name in ("learning_rate", "weight_decay"):
        values[name] = float(values[name])
    return Hyperparameters(**values, seed=seed, keep_best=keep_best)


def read_recommendations(path: Path, unfreeze: str) -> dict[str, Any]:
    """What a model's `finetuning.json` says suits it where `unfreeze` is what is trained.

    It has an object of hyper-parameters for `head`, `last-block` (also for more blocks) and `all`,
    or for some of them. Raises BadDataError, naming the value, if any is not as it should be.
    """

    def refuse(problem: str) -> BadDataError:
        return BadDataError(f"{path}: {problem}.", _EXAMPLE)

    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise refuse(f"not JSON: {error}") from error
    if not isinstance(content, dict):
        raise refuse("not an object")
    for policy, values in content.items():
        if policy not in _POLICIES:
            raise refuse(f"{policy!r} is none of {', '.join(_POLICIES)}")
        if not isinstance(values, dict):
            raise refuse(f"{policy!r} has no object of hyper-parameters")
        for name, value in values.items():
            if name not in PUBLISHED_RECIPE:
                raise refuse(f"{name!r} is none of {', '.join(PUBLISHED_RECIPE)}")
            if wish := _unmet_wish(name, value):
                raise refuse(f"{name} of {policy!r} is {value!r}; it has to be {wish}")
    recommended: dict[str, Any] = content.get(
        unfreeze if unfreeze in _POLICIES else "last-block", {}
    )
    return recommended


def _unmet_wish(name: str, value: Any) -> str | None:
    """What a hyper-parameter has to be, if the value is not that."""
    if name == "schedule":
        return None if value in get_args(Schedule) else " or ".join(get_args(Schedule))
    whole = isinstance(value, int) and not isinstance(value, bool)
    if name in ("epochs", "batch_size"):
        fits = whole and 1 <= value <= _MOST
        return None if fits else f"a whole number from 1 to {_MOST:,}"
    fits = (whole or isinstance(value, float)) and 0 <= value <= _MOST
    return None if fits else f"a number from 0 to {_MOST:,}"
