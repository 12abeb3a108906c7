"""Text from outside, made harmless before a person sees it: nothing in it moves the cursor, hides or turns other text.

What Python does not call printable is replaced: control characters (ESC and the C1 range among them), what turns the
direction of writing or has no width, surrogates, separators of lines. A space is the only blank that stays.
"""

from __future__ import annotations

from typing import Any, Final

REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"


def printable(text: str) -> str:
    """One line of text, each character that is not printable replaced."""
    return text if text.isprintable() else "".join(c if c.isprintable() else REPLACEMENT for c in text)


def printable_lines(text: str) -> str:
    """The same of text that has lines of its own, as a traceback."""
    return "\n".join(printable(line) for line in text.split("\n"))


def printable_value(value: Any) -> Any:
    """A value of JSON, each text in it printable."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {printable(name): printable_value(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [printable_value(inner) for inner in value]
    return value


def printable_json(text: str) -> str:
    """JSON that means the same, what is not printable written by its number. Between texts it may have line ends."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))
