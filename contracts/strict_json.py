"""JSON as RFC 8259 has it and no wider, so that two readers cannot understand one value differently.

Refused: bytes that are not UTF-8, a byte order mark, NaN and Infinity, numbers beyond a double, lone surrogates,
a key twice in one object, nesting deeper than 200. Each of these is read by some parser, and by no two alike.

Two parsers must both agree. jiter finds duplicate keys and keeps integers of any size, but takes 1e400 for
infinity; orjson refuses that, but turns integers beyond 64 bits into floats. So jiter's value is used and orjson
asked for its consent, at 0.7 µs for 300 bytes.
"""

from __future__ import annotations

import re

import jiter
import orjson

from contracts.violations import MAX_QUOTED, NOTHING, quote, show

MAX_DEPTH = 200
"""jiter's own, which is fixed; no event needs more than 5, with Debezium's wrapper."""

_PLACE = re.compile(r" at line (\d+) column (\d+)$")
EXCERPT_BEFORE = 30
"""Bytes shown before the place of an error."""


class NotJson(ValueError):
    """Not strict JSON. `expected` and `got` are phrases, together one line."""

    def __init__(self, expected: str, got: str) -> None:
        super().__init__(f"expected {expected}, got {got}")
        self.expected = expected
        self.got = got


def parse(data: bytes) -> object:
    """The value as dict, list, str, int, float, bool or None; raises NotJson, whatever the bytes.

    The caller checks the size first: time and memory grow with it.
    """
    try:
        value: object = jiter.from_json(data, allow_inf_nan=False, catch_duplicate_keys=True)
        orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise NotJson(f"strict JSON ({error.msg})", _excerpt(data, _offset(data, error.lineno, error.colno))) from None
    except ValueError as error:
        raise _not_json(data, str(error)) from None
    return value


def _not_json(data: bytes, message: str) -> NotJson:
    """From jiter's message, which ends with the place, and may begin with a key that came."""
    place = _PLACE.search(message)
    if place is None:
        return NotJson("strict JSON", _excerpt(data, 0))
    got = _excerpt(data, _offset(data, int(place[1]), int(place[2])))
    if message.startswith("Detected duplicate key"):
        return NotJson(f"each key once in an object (twice{place[0]})", got)
    return NotJson(f"strict JSON ({message})", got)


def _offset(data: bytes, line: int, column: int) -> int:
    """The byte at a parser's line and column, both from 1."""
    start = 0
    for _ in range(line - 1):
        start = data.find(b"\n", start) + 1
    return start + column - 1


def _excerpt(data: bytes, at: int) -> str:
    """What came around that byte; nothing, where nothing came."""
    start = max(0, at - EXCERPT_BEFORE)
    return quote(data[start : start + 4 * MAX_QUOTED].decode(errors="replace")) if data else show(NOTHING)
