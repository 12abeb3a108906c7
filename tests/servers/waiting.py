"""The one place in the tests that sleeps."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_PAUSE_S = 0.02
_PATIENCE = 3
"""What is waited for is there in time on a quiet machine; on a busy one it is there later, and still there."""


def wait_until(condition: Callable[[], T], timeout_s: float, what: str | Callable[[], str]) -> T:
    """Ask until the answer is true, and return it. Fails with `what` was waited for, told at that moment.

    `timeout_s`: for a quiet machine. It costs nothing to wait for longer before a test fails.
    """
    deadline = time.monotonic() + _PATIENCE * timeout_s
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {_PATIENCE * timeout_s:g} s: {what if isinstance(what, str) else what()}")
        time.sleep(_PAUSE_S)
