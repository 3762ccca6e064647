"""The parts of a text that an explanation weighs: words, numbers, whole addresses."""

import re
import unicodedata
from collections.abc import Iterator

# A word longer than LONGEST characters is cut behind its punctuation if it has any. A number may
# have spaces in it up to that length. Addresses are not cut: a URL never, others up to the length
# that an e-mail address can have (RFC 5321, section 4.5.3.1).
LONGEST, _LONGEST_ADDRESS = 32, 254
# Of scripts that are written without spaces, so many characters are a part: a word or two.
_CHARACTERS = 4

# Thai, Lao; Tibetan, Burmese; Khmer; Chinese and Japanese with their punctuation and wide forms.
_UNSPACED = (
    "\u0e00-\u0eff\u0f00-\u109f\u1780-\u17ff\u2e80-\u2fff\u3001-\ua4cf\uf900-\ufaff\ufe30-\ufe4f"
    "\uff01-\uffef\U00020000-\U0003ffff"
)
_IS_UNSPACED = re.compile(f"[{_UNSPACED}]")
# The spaces before a part belong to it; those at the end of a text are a part of their own.
_RUN = re.compile(rf"\s*(?:[^\s{_UNSPACED}]+|[{_UNSPACED}]+)|\s+")
# What an address begins with, also right behind a word.
_SCHEME = re.compile(r"(?:https?|ftp)://|\bwww\.|\bmailto:", re.IGNORECASE)
# An e-mail address or the name of a host.
_ADDRESS = re.compile(r"[^\W_]@[^\W_]|[^\W_]\.[^\W\d_]{2}")
_NUMBER = re.compile(r"\s*[+(]?\d[\d().,:/-]*")
_ATOM = re.compile(rf"[^\W_]{{1,{2 * LONGEST}}}[\W_]{{0,{LONGEST}}}|[\W_]{{1,{LONGEST}}}")


def parts(text: str, start: int = 0, end: int | None = None) -> list[tuple[int, int]]:
    """Where the parts of `text[start:end]` begin and end; they cover it, in order.

    A part is a word or a number with the spaces before it and the punctuation around it, a whole
    URL, e-mail address or name of a host, or some characters of a script without spaces. Groups of
    digits that stand side by side, as in telephone numbers, are one part.
    """
    found: list[tuple[int, int]] = []
    number = False  # whether the last part found is one
    for first, last in _runs(text, start, len(text) if end is None else end):
        was_number, number = number, bool(_NUMBER.fullmatch(text, first, last))
        begin = found[-1][0] if found else first
        if number and was_number and _is_one_space(text, first) and last - begin <= LONGEST:
            found[-1] = begin, last
        else:
            found.append((first, last))
    return found


def _is_one_space(text: str, place: int) -> bool:
    return text[place] in " \t\u00a0" and not text[place + 1].isspace()


def _runs(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The parts before groups of digits are joined."""
    for run in _RUN.finditer(text, start, end):
        first, last = run.span()
        if text[last - 1].isspace():
            yield first, last
        elif _IS_UNSPACED.match(text, last - 1):
            yield from _in_steps(text, first, last)
        else:
            yield from _around_addresses(text, first, last)


def _around_addresses(text: str, first: int, last: int) -> Iterator[tuple[int, int]]:
    scheme = _SCHEME.search(text, first, last)
    if scheme and any(map(str.isalnum, text[first : scheme.start()])):
        yield from _around_addresses(text, first, scheme.start())
        first = scheme.start()
    length = last - first
    other_address = length <= _LONGEST_ADDRESS and _ADDRESS.search(text, first, last)
    if scheme or other_address or length <= LONGEST:
        yield first, last
    else:
        yield from _at_punctuation(text, first, last)


def _in_steps(text: str, first: int, last: int) -> Iterator[tuple[int, int]]:
    """Some characters at a time, each with its marks, none of them behind punctuation."""
    begin, letters, before = first, 0, ""
    for place in range(first, last):
        kind = unicodedata.category(text[place])[0]
        if kind == "L" and letters and (letters == _CHARACTERS or before == "P"):
            yield begin, place
            begin, letters = place, 0
        letters += kind == "L"
        before = kind
    yield begin, last


def _at_punctuation(text: str, first: int, last: int) -> Iterator[tuple[int, int]]:
    """Pieces of at most LONGEST characters, or one word that is longer."""
    begin = first
    for atom in _ATOM.finditer(text, first, last):
        if atom.end() - begin > LONGEST and atom.start() > begin:
            yield begin, atom.start()
            begin = atom.start()
    yield begin, last
