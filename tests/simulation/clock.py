"""Time: one number of the world's, moved by nothing but the world; each process may be wrong about the wall clock."""

from __future__ import annotations

from dataclasses import dataclass

START_MS = 1_793_527_200_000
"""2026-11-01T10:00:00Z."""


@dataclass(slots=True)
class Time:
    """Milliseconds since the epoch, as the brokers have them."""

    now: int = START_MS


@dataclass(slots=True)
class SimulatedClock:
    """`worker.ports.Clock` of one process. `skew_ms`: how far its wall clock is ahead of the brokers'."""

    time: Time
    skew_ms: int = 0

    def now_ms(self) -> int:
        return self.time.now + self.skew_ms

    def monotonic(self) -> float:
        return (self.time.now - START_MS) / 1000 + 1000.0
