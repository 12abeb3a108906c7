"""Times as people give them: `2h`, `2026-11-01T10:00:00Z`."""

from __future__ import annotations

import re
from typing import Final

import typer

UNITS_MS: Final = {"ms": 1, "s": 1_000, "m": 60_000, "min": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_DURATION: Final = re.compile(rf"(\d{{1,9}})\s*({'|'.join(sorted(UNITS_MS, key=len, reverse=True))})")


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
