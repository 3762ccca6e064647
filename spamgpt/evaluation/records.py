"""Frozen dataclasses to plain JSON values and back, with the types of their fields checked."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints


def to_plain(value: Any) -> Any:
    """The value as JSON has it: dataclasses and mappings are objects, sequences lists."""
    if is_dataclass(value):
        return {f.name: to_plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {key: to_plain(each) for key, each in value.items()}
    if isinstance(value, tuple | list):
        return [to_plain(each) for each in value]
    return value


def from_plain(kind: Any, value: Any, name: str = "it") -> Any:
    """What `to_plain` was given, whose type was `kind`.

    Knows dataclasses, tuples, mappings of names, unions and JSON's own values. Raises ValueError
    saying which field, under `name`, is not as it should be.
    """
    if kind is Any:
        return value
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        if value is None and NoneType in arguments:
            return None
        (kind,) = (each for each in arguments if each is not NoneType)
        return from_plain(kind, value, name)
    if isinstance(kind, type) and is_dataclass(kind):
        content, types = _checked(value, Mapping, name), get_type_hints(kind)
        names = [f.name for f in fields(kind)]
        if missing := [each for each in names if each not in content]:
            raise ValueError(f"{name} has no {', '.join(missing)}")
        return kind(**{each: from_plain(types[each], content[each], each) for each in names})
    if origin is tuple:
        items = _checked(value, Sequence, name)
        kinds = [arguments[0]] * len(items) if arguments[-1] is Ellipsis else list(arguments)
        if len(items) != len(kinds):
            raise ValueError(f"{name} has {len(items)} values, not {len(kinds)}")
        return tuple(from_plain(each, item, name) for each, item in zip(kinds, items, strict=True))
    if origin is Mapping:
        content = _checked(value, Mapping, name)
        return {str(key): from_plain(arguments[1], each, key) for key, each in content.items()}
    if kind is float:
        return float(_checked(value, (int, float), name))
    return _checked(value, kind, name)


def _checked(value: Any, kind: Any, name: str) -> Any:
    number = isinstance(value, bool) and kind is not bool
    text = isinstance(value, str) and kind is Sequence
    if number or text or not isinstance(value, kind):
        raise ValueError(f"{name} cannot be {value!r:.50}")
    return value
