"""A value as it was, for people, with the place of its error marked. Pure.

The detail of a dead letter begins with a place: a path as in `$.metadata.counts.failed`, or `header ce_sequence`,
`key`, `partition`, `value`. A path leads as far into the value as there is something: of what is missing, the object
that lacks it is marked, and of a column of JSON in a string, the string. What is no JSON is shown as the text that it
is, with the place where its reader gave up, and what is no text as bytes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

from contracts.printable import printable
from contracts.strict_json import NotJson, parse

MAX_LINES: Final = 60
"""Of a value that are shown, those around the place: a screen or two."""
MAX_WIDTH: Final = 500
"""Characters of a line."""
MAX_READ: Final = 4 << 20
"""Bytes of a value that are looked at: more than a topic takes by default, even as a dead letter."""
BYTES_SHOWN: Final = 256
BYTES_IN_A_LINE: Final = 16

_STEP: Final = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]")
_LINE_AND_COLUMN: Final = re.compile(r"at line (\d+) column (\d+)")
_PATH: Final = re.compile(r"(\$[^\s:]*): ")


@dataclass(frozen=True, slots=True)
class Line:
    """A line of text, printable. `marked`: the error is here; `left_out`: it stands for lines that are not shown."""

    text: str
    marked: bool = False
    left_out: bool = False


def value_lines(value: bytes | None, detail: str, *, limit: int | None = MAX_LINES) -> list[Line]:
    """A record's value, pretty-printed as far as it can be read, at most so many lines."""
    lines = [*_lines(value, detail)]
    if not any(line.marked for line in lines) and _PATH.match(detail):
        lines = [replace(line, marked=at == 0) for at, line in enumerate(lines)]
    return [replace(line, text=_cut(line.text)) for line in (lines if limit is None else _around(lines, limit))]


def place_of(detail: str) -> str:
    """What a detail begins with: `$.status`, `header ce_type`, `key`; empty where it names no place."""
    place, colon, _ = detail.partition(": expected ")
    return place if colon else ""


def _lines(value: bytes | None, detail: str) -> Iterator[Line]:
    if value is None:
        yield Line("null")
        return
    try:
        text = value[:MAX_READ].decode()
    except UnicodeDecodeError:
        yield from _bytes(value)
        return
    try:
        parsed = parse(value[:MAX_READ])
    except NotJson:
        yield from _text(text, detail)
    else:
        yield from _json(parsed, _steps(detail))


def _steps(detail: str) -> list[str | int]:
    """A path's names and indexes."""
    path = _PATH.match(detail)
    return [] if path is None else [name or int(index) for name, index in _STEP.findall(path[1])]


def _json(value: Any, steps: list[str | int]) -> Iterator[Line]:
    """Indented by two; `steps` lead to what is marked."""
    target = _reached(value, steps)
    yield from _element("", value, "", 0, target, ())


def _reached(value: Any, steps: list[str | int]) -> tuple[str | int, ...] | None:
    """As much of the path as there is; None where it leads nowhere at all."""
    reached: list[str | int] = []
    for step in steps:
        there = step in value if isinstance(value, dict) else isinstance(value, list) and step in range(len(value))
        if not there:
            break
        value = value[step]
        reached.append(step)
    return tuple(reached) if reached or steps else None


def _element(
    head: str, value: Any, tail: str, depth: int, target: tuple[str | int, ...] | None, at: tuple[str | int, ...]
) -> Iterator[Line]:
    """`head` and `tail` are what stands before and behind the value in its lines."""
    indent, marked = "  " * depth, at == target
    if not isinstance(value, dict | list) or not value:
        yield Line(printable(f"{indent}{head}{json.dumps(value, ensure_ascii=False)}{tail}"), marked)
        return
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    yield Line(printable(f"{indent}{head}{opening}"), marked)
    members = list(value.items() if isinstance(value, dict) else enumerate(value))
    for number, (name, inner) in enumerate(members, 1):
        label = f"{json.dumps(name, ensure_ascii=False)}: " if isinstance(value, dict) else ""
        yield from _element(label, inner, "," if number < len(members) else "", depth + 1, target, (*at, name))
    yield Line(f"{indent}{closing}{tail}")


def _text(text: str, detail: str) -> Iterator[Line]:
    """Text as it is; its reader's line and column count bytes from 1."""
    place = _LINE_AND_COLUMN.search(detail)
    wrong, column = (int(place[1]), int(place[2])) if place else (0, 0)
    for number, line in enumerate(text.split("\n"), 1):
        if number != wrong:
            yield Line(printable(line))
            continue
        before = line.encode()[: max(0, column - 1)].decode(errors="replace")
        start = max(0, len(before) - MAX_WIDTH // 4)
        yield Line(printable(line[start : start + MAX_WIDTH]), marked=True)
        yield Line(f"{' ' * (len(before) - start)}^")


def _bytes(value: bytes) -> Iterator[Line]:
    """As `xxd` shows them."""
    for at in range(0, min(len(value), BYTES_SHOWN), BYTES_IN_A_LINE):
        chunk = value[at : at + BYTES_IN_A_LINE]
        text = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in chunk)
        yield Line(f"{at:08x}: {chunk.hex(' ', -2):<39}  {text}")
    if len(value) > BYTES_SHOWN:
        yield Line(f"… {len(value) - BYTES_SHOWN:,} bytes more", left_out=True)


def _around(lines: list[Line], limit: int) -> Iterator[Line]:
    """Of too many lines those around the marked one, and how many are left out."""
    marked = next((at for at, line in enumerate(lines) if line.marked), 0)
    start = max(0, min(marked - limit // 2, len(lines) - limit))
    if start:
        yield Line(f"… {_count(start)} before", left_out=True)
    yield from lines[start : start + limit]
    if len(lines) > start + limit:
        yield Line(f"… {_count(len(lines) - start - limit)} more", left_out=True)


def _count(lines: int) -> str:
    return "1 line" if lines == 1 else f"{lines:,} lines"


def _cut(text: str) -> str:
    return text if len(text) <= MAX_WIDTH else f"{text[:MAX_WIDTH]}…"
