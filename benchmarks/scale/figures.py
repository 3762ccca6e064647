"""A figure of a table."""

from typing import NamedTuple


class Figure(NamedTuple):
    """What was measured, the value as it is shown, and whether it is as good as it has to be."""

    what: str
    value: str
    met: bool = True
