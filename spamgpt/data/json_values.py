"""JSON that every reader takes: of numbers that it has no word for, NaN and infinities, null."""

import json
import math


def json_text(value: object, ensure_ascii: bool = True) -> str:
    """A value as JSON. NaN and infinities, which Python would write as such, become null."""
    try:
        return json.dumps(value, ensure_ascii=ensure_ascii, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(value), ensure_ascii=ensure_ascii, allow_nan=False)


def _finite(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
