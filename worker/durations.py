"""Durations as people read them: `10 min`, `3 d 4 h ago`."""

from __future__ import annotations

from typing import Final

_PARTS: Final = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))


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
