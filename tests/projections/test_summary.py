"""Result summaries: what is known, as it is; what is not known, not at all."""

from __future__ import annotations

import re

import pytest

from contracts.decision import STATES, State
from contracts.facts import COUNT_NAMES, NO_COUNTS, Counts
from projections.cases import EVERY_COUNTS
from projections.summary import counts_text, summarize


@pytest.mark.parametrize(
    ("counts", "text"),
    [
        (Counts(12, 12, 0, 0, 0, 0), "12 items: 12 succeeded"),
        (Counts(12, 10, skipped=2), "12 items: 10 succeeded, 2 skipped"),
        (Counts(15, 1, 2, 3, 4, 5), "15 items: 1 succeeded, 2 failed, 3 skipped, 4 partial, 5 not applied"),
        (Counts(12, 0, failed=12), "12 items: 0 succeeded, 12 failed"),
        (Counts(total=12), "12 items"),
        (Counts(total=1), "1 item"),
        (Counts(1, 1), "1 item: 1 succeeded"),
        (Counts(total=0), "0 items"),
        (Counts(0, 0, 0), "0 items: 0 succeeded"),
        (Counts(total=3, failed=0), "3 items"),
        (Counts(succeeded=10, skipped=2), "10 succeeded, 2 skipped"),
        (Counts(succeeded=0, skipped=0), "0 succeeded"),
        (Counts(non_applied=1), "1 not applied"),
        (Counts(failed=0), "0 failed"),
        (Counts(failed=0, partial=0, non_applied=0), "0 failed, 0 partial, 0 not applied"),
    ],
)
def test_counts_in_words(counts: Counts, text: str) -> None:
    assert counts_text(counts) == text


@pytest.mark.parametrize(
    ("state", "kind", "text"),
    [
        ("not_executed", "unavailable", "Result summary unavailable"),
        ("in_progress", "in_progress", "In progress"),
        ("completed_proof_incomplete", "unavailable", "Result summary unavailable"),
        ("completed_with_evidence", "unavailable", "Result summary unavailable"),
        ("needs_review", "unavailable", "Result summary unavailable"),
        ("failed", "failure_details_required", "Failure details required"),
        ("blocked_or_cancelled", "unavailable", "Unavailable"),
    ],
)
def test_without_any_count_each_state_says_so_and_no_zero_is_made_up(state: State, kind: str, text: str) -> None:
    nothing = dict.fromkeys(COUNT_NAMES)
    assert summarize(NO_COUNTS, state) == {"kind": kind, "text": text, "counts": nothing}


@pytest.mark.parametrize("state", STATES)
def test_known_counts_are_shown_in_every_state(state: State) -> None:
    summary = summarize(Counts(failed=0), state)
    assert (summary["kind"], summary["text"]) == ("counts", "0 failed")
    assert summary["counts"] == {**dict.fromkeys(COUNT_NAMES), "failed": 0}


def test_no_number_is_shown_that_is_not_a_known_count() -> None:
    for counts in EVERY_COUNTS:
        known = [count for name in COUNT_NAMES if (count := getattr(counts, name)) is not None]
        for number in re.findall(r"\d+", summarize(counts, "failed")["text"]):
            known.remove(int(number))


def test_every_known_count_above_zero_is_shown() -> None:
    for counts in EVERY_COUNTS:
        above = [count for name in COUNT_NAMES if (count := getattr(counts, name))]
        shown = [int(number) for number in re.findall(r"\d+", summarize(counts, "failed")["text"])]
        assert sorted(number for number in shown if number) == sorted(above)
