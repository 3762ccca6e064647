"""How spammers disguise a text from filters, so that people can still read it."""

import random
import re
import unicodedata
from collections.abc import Callable

# Letters of Cyrillic that look Latin, by their names.
_CYRILLIC = {
    "a": "A", "c": "ES", "e": "IE", "o": "O", "p": "ER", "x": "HA", "y": "U",
    "B": "VE", "H": "EN", "K": "KA", "M": "EM", "T": "TE",
}  # fmt: skip
_LOOK_ALIKES = str.maketrans(
    {
        latin: unicodedata.lookup(
            f"CYRILLIC {'SMALL' if latin.islower() else 'CAPITAL'} LETTER {name}"
        )
        for latin, name in _CYRILLIC.items()
    }
)
_LEET = str.maketrans("aeiostAEIOST", "431057431057")
_INVISIBLE = ("\u200b", "\u200c", "\u2060", "\u00ad")
_HARMLESS = (
    "see you at the station at six, I will bring the book",
    "the minutes of the meeting are attached, the next one is on Tuesday",
    "thanks for the lovely evening, the soup was great",
)


def disguised(text: str, draw: random.Random) -> str:
    """The text in one of six disguises."""
    match draw.randrange(6):
        case 0:
            return _some(text, draw, 0.4, lambda c: c.translate(_LOOK_ALIKES))
        case 1:
            return _some(text, draw, 0.3, lambda c: c.translate(_LEET))
        case 2:
            return _some(text, draw, 0.15, lambda c: c + draw.choice(_INVISIBLE))
        case 3:
            return _some(text, draw, 0.5, str.swapcase)
        case 4:
            spaced = 0.3
            return re.sub(
                r"\w{4,}", lambda m: " ".join(m[0]) if draw.random() < spaced else m[0], text
            )
        case _:
            return f"{text}\n\n{draw.choice(_HARMLESS)}"


def _some(text: str, draw: random.Random, share: float, change: Callable[[str], str]) -> str:
    return "".join(change(c) if draw.random() < share else c for c in text)
