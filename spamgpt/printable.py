"""How text and counts are shown: safely, whatever a message holds, and in plain English."""

import re

# C0 and C1 control codes, DEL, the marks that reorder text (Unicode UAX #9) or break lines, and
# half surrogate pairs, which cannot be written.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def printable(text: str) -> str:
    r"""The text with every character that could steer a terminal spelled out, as in `\u001b`."""
    return _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def counted(number: int, noun: str) -> str:
    """`1 message`, `1,286 messages`: for nouns whose plural ends in s."""
    return f"{number:,} {noun}{'s' * (number != 1)}"
