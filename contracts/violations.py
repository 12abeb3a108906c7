"""How we say that something is not what the contract asks for: one line with place, expectation and what came.

What came is shown in at most 80 printable characters: enough to recognise it, and nothing in it can break the line,
the terminal or the limits of a header.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from contracts.printable import printable

MAX_QUOTED = 80
"""Characters of what came that are shown (interfaces, section 7)."""


class Nothing(Enum):
    """What came where nothing came, as null is something."""

    NOTHING = "nothing"


NOTHING: Final = Nothing.NOTHING


class InvalidInput(ValueError):
    """A value that is not what the contract asks for.

    `path` is where, like `$.metadata.counts.failed`; `expected` and `got` are phrases; the message has all three.
    """

    def __init__(self, path: str, expected: str, got: str) -> None:
        super().__init__(complaint(path, expected, got))
        self.path = path
        self.expected = expected
        self.got = got


def complaint(place: str, expected: str, got: str) -> str:
    """`<place>: expected <expected>, got <got>`"""
    return f"{place}: expected {expected}, got {got}"


def quote(text: str) -> str:
    """`"text"` with what is not printable replaced, and an ellipsis after the quotes where it was cut."""
    shown = printable(text[:MAX_QUOTED])
    return f'"{shown}"' if len(text) <= MAX_QUOTED else f'"{shown}"…'


def show(value: object) -> str:
    """What came, in a phrase: a scalar itself, for containers only their kind."""
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "an array"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    text = "nothing" if value is NOTHING else str(value)
    return text if len(text) <= MAX_QUOTED else f"{text[:MAX_QUOTED]}…"


def one_of(values: tuple[str, ...]) -> str:
    """`one of a, b, c`"""
    return f"one of {', '.join(values)}"
