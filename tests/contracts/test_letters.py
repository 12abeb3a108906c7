"""A dead letter is the record unchanged, and six headers that say where it was and why."""

from __future__ import annotations

import pytest

from contracts.letters import MEANINGS, REASONS, Letter, letter_headers, read_letter
from tests.contracts.records import HOME, binary


def test_the_six_headers_follow_the_records_own() -> None:
    record = binary()
    assert letter_headers(record, "not_json", "$: expected strict JSON, got nothing") == [
        *record.headers,
        ("dl_topic", b"restore.restore-runs.v1"),
        ("dl_partition", b"%d" % HOME),
        ("dl_offset", b"7"),
        ("dl_timestamp", b"1793527200000"),
        ("dl_reason", b"not_json"),
        ("dl_detail", b"$: expected strict JSON, got nothing"),
    ]


def test_the_last_setting_aside_counts_and_earlier_ones_stay() -> None:
    first = letter_headers(binary(), "not_json", "once")
    again = letter_headers(binary()._replace(headers=tuple(first), offset=9), "too_large", "twice")
    assert again[: len(first)] == first
    assert read_letter(first) == Letter("restore.restore-runs.v1", HOME, 7, 1_793_527_200_000, "not_json", "once")
    assert read_letter(again) == Letter("restore.restore-runs.v1", HOME, 9, 1_793_527_200_000, "too_large", "twice")


def test_headers_that_are_no_text_stay_as_they_are() -> None:
    odd = (("x", b"\xff\x00"), ("x", b"\xff\x00"), ("DL_reason", b"mine"))
    assert tuple(letter_headers(binary()._replace(headers=odd), "not_json", "d"))[:3] == odd


@pytest.mark.parametrize("missing", ["dl_topic", "dl_partition", "dl_offset", "dl_timestamp", "dl_reason", "dl_detail"])
def test_a_letter_without_one_of_the_six_is_none(missing: str) -> None:
    headers = [pair for pair in letter_headers(binary(), "not_json", "d") if pair[0] != missing]
    with pytest.raises(ValueError, match=f"expected a header {missing}, got none"):
        read_letter(headers)


def test_a_letter_with_an_unknown_reason_is_none() -> None:
    with pytest.raises(ValueError, match=r"expected a dl_reason of too_large, .*, got 'whatever'"):
        read_letter([*letter_headers(binary(), "not_json", "d"), ("dl_reason", b"whatever")])


def test_each_reason_has_a_sentence() -> None:
    assert tuple(MEANINGS) == REASONS
    assert all(meaning.endswith(".") and "\n" not in meaning for meaning in MEANINGS.values())
