"""The words that drove an answer: marked in the message, or the strongest of them listed."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from spamgpt.printable import printable

if TYPE_CHECKING:
    from rich.text import Text

    from spamgpt.classifier.explanation import Span

# How many words are listed, and how many are underlined, for screens without colours.
LISTED = 5
# Words that weigh less than this share of the weightiest are not marked.
_LEAST = 0.1
# Background colours of a word that says little and of the weightiest, as red, green, blue.
_FOR = (255, 236, 150), (255, 150, 40)
_AGAINST = (160, 225, 255), (80, 160, 255)


def top_words(text: str, spans: Sequence["Span"]) -> str:
    """The words that spoke most for the answer, with their weights: `prize (+2.1), free (+1.3)`."""
    from spamgpt.classifier.explanation import top

    return ", ".join(
        f"{' '.join(text[span.start : span.end].split())} ({span.weight:+.1f})"
        for span in top(spans, LISTED)
    )


def marked(text: str, spans: Sequence["Span"]) -> "Text":
    """The text, each word's background telling how much it spoke for (orange) or against (blue).

    The words that `top_words` lists are underlined.
    """
    from rich.text import Text

    from spamgpt.classifier.explanation import top

    weightiest = max((abs(span.weight) for span in spans), default=0.0)
    listed = top(spans, LISTED)
    shown = Text()
    for span in spans:
        part = text[span.start : span.end]
        word = part.lstrip()
        shown.append(printable(part[: len(part) - len(word)]))
        shown.append(printable(word), style=_style(span, weightiest, span in listed))
    return shown


def _style(span: "Span", weightiest: float, listed: bool) -> str:
    strength = abs(span.weight) / weightiest if weightiest else 0.0
    underline = "underline" if listed else ""
    if strength < _LEAST:
        return underline
    weak, strong = _FOR if span.weight > 0 else _AGAINST
    colour = (round(low + strength * (high - low)) for low, high in zip(weak, strong, strict=True))
    return f"{underline} #000000 on #{'{:02x}{:02x}{:02x}'.format(*colour)}"
