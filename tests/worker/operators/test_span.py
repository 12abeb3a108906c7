"""Where a span lies, and when something of it may have been removed."""

from __future__ import annotations

import time
from typing import Any, Final, cast

import pytest

from worker.operators.log import LogReader
from worker.operators.span import Removed, Span, find
from worker.topics import TopicState

HOUR_MS: Final = 3_600_000
PLACE: Final = ("runs", 0)


class Log:
    """A reader of a log that begins at 500, as far as the workers have come, with or without a record of the span."""

    def __init__(self, first: int | None) -> None:
        self._first = first

    def begins(self, _: Any) -> dict[Any, int]:
        return {PLACE: 500}

    def committed(self, *_: Any) -> dict[Any, int]:
        return {PLACE: 500 if self._first is None else 600}

    def at(self, _: Any, time_ms: int) -> dict[Any, int | None]:
        return {PLACE: self._first if time_ms < time.time_ns() // 1_000_000 - HOUR_MS // 2 else None}


@pytest.mark.parametrize(
    ("first", "kept_ms", "said"),
    [
        (None, 24 * HOUR_MS, False),
        (None, -1, False),
        (None, HOUR_MS, True),
        (500, 24 * HOUR_MS, True),
        (501, -1, False),
    ],
)
def test_it_is_said_only_where_records_of_the_span_may_have_been_removed(
    first: int | None, kept_ms: int, said: bool
) -> None:
    now = time.time_ns() // 1_000_000
    topics = {"runs": TopicState(1, 1, {"retention.ms": str(kept_ms)})}
    extent = find(cast("LogReader", Log(first)), Span(now - HOUR_MS, now, ["runs"]), [0], topics, "group")
    assert extent.removed == ([Removed("runs", 0, 500)] if said else [])
