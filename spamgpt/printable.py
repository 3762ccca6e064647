"""How text and counts are shown: safely, whatever a message holds, and in plain English."""

import re

# C0 and C1 control codes, DEL, the marks that reorder text (Unicode UAX #9) or break lines, and
# half surrogate pairs, which cannot be written.
_STEERING = "\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
# What takes no space, so that words look like others: soft hyphen, zero-width space, word joiner,
# fillers, tags and the like. Joiners (200c, 200d) between letters or emoji are spelling.
_UNSEEN = (
    "\xad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u2060-\u2065\u206a-\u206f\u3164\ufeff"
    "\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_UNSAFE = re.compile(
    f"[{_STEERING}{_UNSEEN}]|(?<![^\x00-\x7f])[\u200c\u200d]|[\u200c\u200d](?![^\x00-\x7f])"
)


def printable(text: str) -> str:
    r"""The text with what could steer a terminal or is unseen spelled out, as in `\u001b`."""
    return _UNSAFE.sub(_spelled_out, text)


def _spelled_out(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def counted(number: int, noun: str) -> str:
    """`1 message`, `1,286 messages`: for nouns whose plural ends in s."""
    return f"{number:,} {noun}{'s' * (number != 1)}"
