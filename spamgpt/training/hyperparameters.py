"""The hyper-parameters of a fine-tuning: those given, those a model recommends, the published."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from spamgpt.errors import BadDataError, UsageError
from spamgpt.printable import counted
from spamgpt.training.schedule import WARM_UP, Schedule

ClassWeights = Literal["none", "balanced"]
PretrainingOptimizer = Literal["muon", "adamw"]
# The highest learning rate of pre-training unless another is given.
PRETRAINING_RATES: Mapping[PretrainingOptimizer, float] = {"muon": 3e-3, "adamw": 1e-3}

# Raschka 2024, chapter 6.
PUBLISHED_RECIPE: Mapping[str, int | float | str | None] = {
    "epochs": 5,
    "batch_size": 8,
    "learning_rate": 5e-5,
    "weight_decay": 0.1,
    "schedule": "constant",
    "warmup": None,
    "accumulate": 1,
    "class_weights": "none",
    "clip": 0.0,
    "dropout": 0.0,
    "label_smoothing": 0.0,
    "patience": 0,
    "ngrams": False,
}
_WHOLE = ("epochs", "batch_size", "accumulate", "patience")
# Beyond every sensible value.
_MOST = 1_000_000
_POLICIES = ("head", "last-block", "all")
# What a model recommends for adapters, in whichever blocks.
_LORA = "lora"
_EXAMPLE = 'Write, for example: {"last-block": {"epochs": 5, "learning_rate": 5e-5}}'


@dataclass(frozen=True)
class Hyperparameters:
    """How to fine-tune; with `keep_best` the epoch with the lowest validation loss is kept.

    `learning_rate` is the highest of the `schedule` (`learning_rate_factor`), which rises over the
    share `warmup` of the steps. A step takes `accumulate` batches. Gradients are clipped to the
    norm `clip`; 0 does not clip. `class_weights` "balanced" lets every label count the same.
    Training ends after `patience` epochs without a lower validation loss; 0 trains all of them.
    With `ngrams` a linear model on n-grams is fitted beside GPT-2, whose logits are added.
    With `published_order` the batches are those of the published experiment, which leaves the last
    messages of an epoch out where they fill no batch, and its measurements are made.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    schedule: Schedule
    seed: int
    keep_best: bool
    warmup: float = 0.0
    accumulate: int = 1
    class_weights: ClassWeights = "none"
    clip: float = 0.0
    dropout: float = 0.0
    label_smoothing: float = 0.0
    patience: int = 0
    ngrams: bool = False
    published_order: bool = False

    def __str__(self) -> str:
        step = f", {self.accumulate} to a step," if self.accumulate > 1 else ""
        changes = ["warm-up"] * (self.warmup > 0)
        changes += [f"{self.schedule} decay to 0"] * (self.schedule != "constant")
        changing = f", with {' and '.join(changes)}" if changes else ""
        others = {
            "balanced class weights": self.class_weights == "balanced",
            f"gradients clipped to {self.clip:g}": self.clip,
            f"dropout {self.dropout:g}": self.dropout,
            f"label smoothing {self.label_smoothing:g}": self.label_smoothing,
            f"patience {self.patience}": self.patience,
            "a linear model on n-grams beside GPT-2": self.ngrams,
        }
        told = "".join(f"; {name}" for name, chosen in others.items() if chosen)
        return (
            f"for {counted(self.epochs, 'epoch')} in batches of {self.batch_size}{step} "
            f"at a learning rate of {self.learning_rate:g}{changing}{told}"
        )


def with_recommendations(
    given: Mapping[str, Any],
    recommended: Mapping[str, Any],
    seed: int,
    keep_best: bool,
    published_order: bool = False,
) -> Hyperparameters:
    """The given values or, where one is missing or None, the recommended or else the published.

    Raises UsageError for a given value that cannot be.
    """
    chosen = {name: given[name] for name in PUBLISHED_RECIPE if given.get(name) is not None}
    for name, value in chosen.items():
        if wish := _unmet_wish(name, value):
            raise UsageError(f"`{name}` is {value!r}; it has to be {wish}.", "Give another value.")
    values: dict[str, Any] = {**PUBLISHED_RECIPE, **recommended, **chosen}
    if values["warmup"] is None:
        values["warmup"] = WARM_UP[values["schedule"]]
    for name in ("learning_rate", "weight_decay", "warmup", "clip", "dropout", "label_smoothing"):
        values[name] = float(values[name])
    return Hyperparameters(
        **values, seed=seed, keep_best=keep_best, published_order=published_order
    )


def read_recommendations(path: Path, unfreeze: str, lora: bool = False) -> dict[str, Any]:
    """What a model's `finetuning.json` says suits it where `unfreeze` is what is trained.

    It has an object of hyper-parameters for `head`, `last-block` (also for more blocks), `all` and
    `lora`, or for some of them. The last is for adapters whose alpha is their rank: the learning
    rate that suits them falls as alpha / rank rises. Raises BadDataError, naming the value, if any
    is not as it should be.
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
        if policy not in (*_POLICIES, _LORA):
            raise refuse(f"{policy!r} is none of {', '.join((*_POLICIES, _LORA))}")
        if not isinstance(values, dict):
            raise refuse(f"{policy!r} has no object of hyper-parameters")
        for name, value in values.items():
            if name not in PUBLISHED_RECIPE:
                raise refuse(f"{name!r} is none of {', '.join(PUBLISHED_RECIPE)}")
            if wish := _unmet_wish(name, value):
                raise refuse(f"{name} of {policy!r} is {value!r}; it has to be {wish}")
    trained = unfreeze if unfreeze in _POLICIES else "last-block"
    recommended: dict[str, Any] = content.get(_LORA if lora and _LORA in content else trained, {})
    return recommended


def _unmet_wish(name: str, value: Any) -> str | None:
    """What a hyper-parameter has to be, if the value is not that."""
    choices = {"schedule": get_args(Schedule), "class_weights": get_args(ClassWeights)}
    if name in choices:
        return None if value in choices[name] else " or ".join(choices[name])
    if name == "ngrams":
        return None if isinstance(value, bool) else "true or false"
    whole = isinstance(value, int) and not isinstance(value, bool)
    if name in _WHOLE:
        least = 0 if name == "patience" else 1
        fits = whole and least <= value <= _MOST
        return None if fits else f"a whole number from {least} to {_MOST:,}"
    number = whole or isinstance(value, float)
    if name in ("dropout", "label_smoothing"):
        return None if number and 0 <= value < 1 else "a number from 0 to below 1"
    most = 1 if name == "warmup" else _MOST
    return None if number and 0 <= value <= most else f"a number from 0 to {most:,}"
