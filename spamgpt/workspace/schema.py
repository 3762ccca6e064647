"""What a manifest has to hold, so that whoever reads one need not ask again.

A checksum tells damage from what was written; this tells what was written by something else.
"""

import math
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

Check = Callable[[Any], bool]

# What file systems and clocks take.
_LARGEST = 2**63 - 1
_SHA256 = re.compile(r"[0-9a-f]{64}")
_FILE_NAME = re.compile(r"[^/\\\0]+")


def problem_of(manifest: Mapping[str, Any], kind: str) -> str | None:
    """What is wrong with the manifest of an artifact of a kind; None if nothing is."""
    for name, is_right in _FIELDS.items():
        if name not in manifest:
            return f"it has no {name!r}"
        if not is_right(manifest[name]):
            return f"its {name!r} is not as it should be"
    for name, is_right in _OPTIONAL.items():
        if name in manifest and not is_right(manifest[name]):
            return f"its {name!r} is not as it should be"
    for name, is_right in _COUNTS.get(kind, {}).items():
        if name in manifest["counts"] and not is_right(manifest["counts"][name]):
            return f"what it says of {name!r} is not as it should be"
    return None


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LARGEST


def _is_number(value: object) -> bool:
    """A finite one."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return abs(value) <= _LARGEST and not math.isnan(value)


def _is_moment(value: object) -> bool:
    """A time with its zone, of a year in which every zone has a time."""
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return False
    return bool(moment and moment.tzinfo and 1970 <= moment.year < 9999)


def _is_sha256(value: object) -> bool:
    return isinstance(value, str) and _SHA256.fullmatch(value) is not None


def _list_of(is_right: Check) -> Check:
    return lambda value: isinstance(value, list) and all(map(is_right, value))


def _object_of(is_right: Check) -> Check:
    return lambda value: isinstance(value, dict) and all(map(is_right, value.values()))


def _with(**fields: Check) -> Check:
    """An object with at least these fields."""
    return lambda value: (
        isinstance(value, dict)
        and all(name in value and is_right(value[name]) for name, is_right in fields.items())
    )


def _are_files(value: object) -> bool:
    """Described files by their names, none of which leads out of the folder."""
    return _object_of(_with(size=_is_count, mtime_ns=_is_count, sha256=_is_sha256))(value) and all(
        _FILE_NAME.fullmatch(name) and name not in (".", "..")
        for name in value  # type: ignore[attr-defined]
    )


_is_object = _object_of(lambda value: True)
_are_counts = _object_of(_is_count)

_FIELDS: Mapping[str, Check] = {
    "stage": _is_text,
    "settings": _is_object,
    "inputs": _list_of(_with(artifact=_is_text, digest=_is_sha256)),
    "counts": _is_object,
    "files": _are_files,
    "digest": _is_sha256,
    "version": _is_count,
    "spamgpt": _is_text,
    "libraries": _object_of(_is_text),
    "created": _is_moment,
    "seconds": _is_number,
}
# What early versions did not write yet.
_OPTIONAL: Mapping[str, Check] = {"substitutions": _list_of(_is_text), "sequence": _is_count}

_SUBSTITUTED = _with(wanted=_is_text, reason=_is_text)
_COUNTS: Mapping[str, Mapping[str, Check]] = {
    "datasets": {
        "messages": _is_count,
        "columns": _list_of(_is_text),
        "labels": _are_counts,
        "origin": _is_text,
        "in_place_of": _SUBSTITUTED,
    },
    "models": {
        "n_layer": _is_count,
        "n_head": _is_count,
        "n_embd": _is_count,
        "weights": _is_text,
        "origin": _is_text,
        "tokens": _is_count,
        "epochs": _is_number,
        "held_out_loss": _is_number,
        "in_place_of": _SUBSTITUTED,
    },
    "prepared": {
        "messages": _is_count,
        "read": _is_count,
        "repeats_dropped": _is_count,
        "labels": _list_of(_is_text),
        "splits": _object_of(_with(messages=_is_count, labels=_are_counts)),
    },
    "classifiers": {
        "trained_parameters": _is_count,
        "all_parameters": _is_count,
        "epochs": _is_count,
        "kept_epoch": _is_count,
        "training_loss": _is_number,
        "training_accuracy": _is_number,
        "validation_loss": _is_number,
        "validation_accuracy": _is_number,
        "calibration": _is_object,
    },
    "sweeps": {"not_run": _object_of(_is_text)},
}
