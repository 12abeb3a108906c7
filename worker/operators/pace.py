"""Not faster than so many a second, so that live events beside it do not wait."""

from __future__ import annotations

import time
from collections.abc import Callable


class Pace:
    """`rate`: a second; None is as fast as it goes. What was missed is not caught up: a pause makes no burst."""

    def __init__(
        self,
        rate: float | None,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._interval = 0.0 if rate is None else 1.0 / rate
        self._monotonic = monotonic
        self._sleep = sleep
        self._next = monotonic()

    def wait(self) -> None:
        """Until the next one's turn."""
        if not self._interval:
            return
        now = self._monotonic()
        if now < self._next:
            self._sleep(self._next - now)
        self._next = max(self._next, now) + self._interval
