"""Times as people give and read them: `2h`, `10 min ago`."""

from __future__ import annotations

import re
from typing import Final

import typer

UNITS_MS: Final = {"ms": 1, "s": 1_000, "m": 60_000, "min": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_DURATION: Final = re.compile(rf"(\d{{1,9}})\s*({'|'.join(sorted(UNITS_MS, key=len, reverse=True))})")
_PARTS: Final = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))


def moment(option: str, text: str, now: int) -> int:
    """The time that an option is given, in ms since the epoch: `15m` is that long before `now`, else RFC 3339.

    Raises typer.BadParameter, which ends a command with exit code 2.
    """
    from contracts.times import parse_time

    duration = _DURATION.fullmatch(text.strip())
    if duration is not None:
        return max(now - int(duration[1]) * UNITS_MS[duration[2]], 0)
    try:
        return parse_time(text.strip())
    except ValueError as error:
        raise typer.BadParameter(
            f"{text[:80]!r}: expected a duration like 90s, 15m, 2h or 3d, or a time like 2026-11-01T10:00:00Z",
            param_hint=option,
        ) from error


def span(duration_ms: int) -> str:
    """A duration in its two largest units: `3 d 4 h`, `10 min`, `2.5 s` below ten seconds, `40 ms` below one."""
    if duration_ms < 1_000:
        return f"{duration_ms} ms"
    if duration_ms < 10_000:
        return f"{duration_ms / 1000:.1f} s"
    rest = duration_ms // 1_000
    parts: list[str] = []
    for unit, seconds in _PARTS:
        count, rest = divmod(rest, seconds)
        if count or parts:
            parts.append(f"{count} {unit}" if count else "")
        if len(parts) == 2:
            break
    return " ".join(filter(None, parts))


def ago(age_ms: int) -> str:
    """An age: `10 min ago`; `just now` below a second."""
    return "just now" if age_ms < 1_000 else f"{span(age_ms)} ago"
