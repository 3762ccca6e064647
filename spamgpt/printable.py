"""Text from messages as terminals and pages may safely show it."""

import re

# C0 and C1 control codes, DEL, the marks that reorder text (Unicode UAX #9) or break lines, and
# half surrogate pairs, which cannot be written.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def printable(text: str) -> str:
    r"""The text with every character that could steer a terminal spelled out, as in `\u001b`."""
    return _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
