"""Not faster than so many a second, and no bursts."""

from __future__ import annotations

import pytest

from worker.operators.pace import Pace


class Clock:
    """A clock that only sleeping and `pass_s` move."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now

    def pass_s(self, seconds: float) -> None:
        self.now += seconds


def test_a_hundred_a_second_take_a_second() -> None:
    clock = Clock()
    pace = Pace(100, clock.monotonic, clock.pass_s)
    for _ in range(101):
        pace.wait()
    assert clock.now == pytest.approx(101.0)


def test_after_a_pause_nothing_is_caught_up() -> None:
    clock = Clock()
    pace = Pace(10, clock.monotonic, clock.pass_s)
    pace.wait()
    clock.pass_s(60)
    for _ in range(11):
        pace.wait()
    assert clock.now == pytest.approx(161.0)


def test_without_a_rate_nothing_is_waited_for() -> None:
    clock = Clock()
    pace = Pace(None, clock.monotonic, clock.pass_s)
    for _ in range(1_000):
        pace.wait()
    assert clock.now == 100.0
