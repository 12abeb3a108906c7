"""RFC 3339 on the wire, integer milliseconds since the epoch inside.

A time finer than a millisecond is cut on reading (interfaces, section 3), so that what is written is what was compared.
"""

from __future__ import annotations

import re
from datetime import datetime
from functools import lru_cache

_RFC3339 = re.compile(
    r"(\d{4}-\d\d-\d\d[Tt ](?:[01]\d|2[0-3]):\d\d:\d\d)(?:\.(\d{1,9})\d*)?(?:[Zz]|([+-])(\d\d):(\d\d))", re.ASCII
)
REMEMBERED = 16_384
"""How many times are remembered in either direction, about 3 MB: a document's are written and read again and again."""
REMEMBERED_LENGTH = 35
"""Of a text that is remembered: with nanoseconds and a zone. Longer ones may be of any length."""
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001  # without a zone, as the moments that are compared with it


def parse_time(text: str) -> int:
    """Milliseconds since the epoch of an RFC 3339 time with a zone.

    Raises ValueError, with what was expected, for anything else (no zone, impossible date, leap second, year 0000).
    """
    return _remembered(text) if len(text) <= REMEMBERED_LENGTH else _parse(text)


@lru_cache(maxsize=REMEMBERED)
def _remembered(text: str) -> int:
    return _parse(text)


def _parse(text: str) -> int:
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise ValueError("expected an RFC 3339 time with a zone, like 2026-11-01T10:00:00Z")
    moment, fraction, sign, zone_hours, zone_minutes = match.groups()
    elapsed = datetime.fromisoformat(moment) - _EPOCH  # the pattern leaves it one form to read, and it is fast
    result = (elapsed.days * 86_400 + elapsed.seconds) * 1000
    if fraction:
        result += int(fraction.ljust(3, "0")[:3])
    if sign:
        if int(zone_hours) > 23 or int(zone_minutes) > 59:
            raise ValueError("expected a zone between -23:59 and +23:59")
        offset = (int(zone_hours) * 60 + int(zone_minutes)) * 60_000
        result += -offset if sign == "+" else offset
    if not EARLIEST <= result <= LATEST:
        raise ValueError("expected a time between the years 1 and 9999 in UTC")
    return result


@lru_cache(maxsize=REMEMBERED)
def format_time(at: int) -> str:
    """`YYYY-MM-DDTHH:MM:SS.mmmZ`; the inverse of `parse_time` for whole milliseconds."""
    seconds, milliseconds = divmod(at, 1000)
    days, rest = divmod(seconds, 86_400)
    date = _date_text(days)
    return f"{date}T{rest // 3600:02d}:{rest // 60 % 60:02d}:{rest % 60:02d}.{milliseconds:03d}Z"


@lru_cache(maxsize=4096)
def _date_text(days: int) -> str:
    return datetime.fromordinal(_EPOCH.toordinal() + days).strftime("%Y-%m-%d").zfill(10)


EARLIEST = -62_135_596_800_000
"""0001-01-01T00:00:00.000Z"""
LATEST = 253_402_300_799_999
"""9999-12-31T23:59:59.999Z"""
