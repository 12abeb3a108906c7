"""RFC 3339 in, milliseconds inside."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.times import EARLIEST, LATEST, format_time, parse_time

TEN = 1_793_527_200_000
"""2026-11-01T10:00:00Z"""


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-11-01T10:00:00Z", TEN),
        ("2026-11-01t10:00:00z", TEN),
        ("2026-11-01 10:00:00Z", TEN),
        ("2026-11-01T10:00:00+00:00", TEN),
        ("2026-11-01T10:00:00-00:00", TEN),
        ("2026-11-01T15:30:00+05:30", TEN),
        ("2026-10-31T10:01:00-23:59", TEN),
        ("2026-11-01T10:00:00.5Z", TEN + 500),
        ("2026-11-01T10:00:00.0019Z", TEN + 1),
        ("2026-11-01T10:00:00.999999999999Z", TEN + 999),
        ("1970-01-01T00:00:00Z", 0),
        ("1969-12-31T23:59:59.999Z", -1),
        ("0001-01-01T00:00:00Z", EARLIEST),
        ("9999-12-31T23:59:59.999Z", LATEST),
    ],
)
def test_a_time_is_read(text: str, at: int) -> None:
    assert parse_time(text) == at


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-11-01",
        "2026-11-01T10:00:00",
        "2026-11-01T10:00Z",
        "20261101T100000Z",
        "2026-W44-7T10:00:00Z",
        "2026-11-01T24:00:00Z",
        "2026-11-01T10:60:00Z",
        "2026-11-01T23:59:60Z",
        "2026-02-29T10:00:00Z",
        "2026-13-01T10:00:00Z",
        "2026-11-00T10:00:00Z",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01",
        "2026-11-01T10:00:00+24:00",
        "2026-11-01T10:00:00+0000",
        "2026-11-01T10:00:00+00",
        "2026-11-01T10:00:00.Z",
        "2026-11-01T10:00:00,5Z",
        "2026-11-01T10:00:00Z\n",
        " 2026-11-01T10:00:00Z",
        "2026-11-01T10:00:00ZZ",
        "٢٠٢٦-11-01T10:00:00Z",
        "+2026-11-01T10:00:00Z",
        "12026-11-01T10:00:00Z",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_time(text)


@given(st.integers(EARLIEST, LATEST))
def test_what_is_written_is_read_again(at: int) -> None:
    assert parse_time(format_time(at)) == at


@given(
    st.datetimes(datetime(2, 1, 1), datetime(9998, 12, 31)),  # noqa: DTZ001
    st.integers(-23 * 60 - 59, 23 * 60 + 59),
)
def test_zones_are_counted_as_the_standard_library_counts_them(moment: datetime, minutes: int) -> None:
    aware = moment.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    since = aware - datetime(1970, 1, 1, tzinfo=UTC)
    assert parse_time(aware.isoformat()) == since // timedelta(milliseconds=1)
