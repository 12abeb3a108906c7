"""Which snapshot is shown, and what is said where none is."""

from __future__ import annotations

from typing import Any

import pytest

from contracts.facts import EvidenceSnapshot, OperationRun, RestoreRun
from contracts.times import parse_time
from projections.document import describe
from projections.rules import decide
from tests.projections.given import COMPLETED_AT, DELETED, a_run, a_snapshot, an_operation, facts

COMPLETED_RUN = a_run()
ITS_OPERATION = an_operation()


def shown(
    *evidence: EvidenceSnapshot, operation: OperationRun | None = ITS_OPERATION, run: RestoreRun = COMPLETED_RUN
) -> dict[str, Any]:
    given = facts(run, operation, *evidence)
    found: dict[str, Any] = describe(given, decide(given))["post_run_evidence"]
    return found


def unavailable(cause: str | None) -> dict[str, Any]:
    return {"state": "unavailable", "cause": cause, "evidence_snapshot_id": None, "valid_until": None}


def available(snapshot: str, valid_until: str | None = None) -> dict[str, Any]:
    return {"state": "available", "cause": None, "evidence_snapshot_id": snapshot, "valid_until": valid_until}


@pytest.mark.parametrize(
    ("snapshot", "cause"),
    [
        (a_snapshot(status="queued"), "pending"),
        (a_snapshot(status="generating"), "pending"),
        (a_snapshot(status="superseded"), "superseded"),
        (a_snapshot(status="expired"), "expired"),
        (a_snapshot(expired=True), "expired"),
        (a_snapshot(status="failed"), "failed"),
        (a_snapshot(minute=-1), "predates_completion"),
        (a_snapshot(minute=-1, expired=True), "expired"),
    ],
)
def test_each_reason_why_a_snapshot_is_not_current_is_named(snapshot: EvidenceSnapshot, cause: str) -> None:
    assert shown(snapshot) == unavailable(cause)


def test_without_any_snapshot_the_cause_is_none() -> None:
    assert shown() == unavailable("none")


def test_the_cause_is_the_newest_snapshots() -> None:
    failed, pending = a_snapshot("es-1", "failed", minute=1), a_snapshot("es-2", "queued", minute=2)
    assert shown(failed, pending) == unavailable("pending")
    assert shown(pending, failed) == unavailable("pending")


def test_an_unknown_time_is_the_oldest_and_equal_times_go_by_id() -> None:
    undated = a_snapshot("es-9", "failed", minute=None)
    assert shown(undated, a_snapshot("es-1", "queued", minute=1)) == unavailable("pending")
    assert shown(a_snapshot("es-1", "failed"), a_snapshot("es-2", "superseded")) == unavailable("superseded")
    assert shown(a_snapshot("es-1"), a_snapshot("es-2"), a_snapshot("es-10")) == available("es-2")


def test_a_time_before_1970_is_newer_than_an_unknown_one() -> None:
    ancient = a_snapshot("es-1", "queued", generated_at=parse_time("0001-01-01T00:00:00Z"))
    assert shown(ancient, a_snapshot("es-2", "failed", minute=None)) == unavailable("pending")


def test_of_several_current_ones_the_latest_is_shown() -> None:
    assert shown(a_snapshot("es-2", minute=1), a_snapshot("es-1", minute=2)) == available("es-1")


def test_a_current_one_is_shown_although_a_newer_one_failed() -> None:
    assert shown(a_snapshot("es-1"), a_snapshot("es-2", "failed", minute=2)) == available("es-1")


def test_it_says_until_when_it_is_valid() -> None:
    until = parse_time("2026-12-01T00:00:00.123Z")
    assert shown(a_snapshot(expires_at=until)) == available("es-1", "2026-12-01T00:00:00.123Z")


def test_generated_at_the_moment_of_completion_is_not_before_it() -> None:
    assert shown(a_snapshot(generated_at=COMPLETED_AT)) == available("es-1")
    assert shown(a_snapshot(generated_at=COMPLETED_AT - 1)) == unavailable("predates_completion")


def test_only_known_times_can_be_too_early() -> None:
    assert shown(a_snapshot(minute=None)) == available("es-1")
    assert shown(a_snapshot(minute=-1), operation=an_operation(completed_at=None)) == available("es-1")
    assert shown(a_snapshot(minute=-1), operation=None) == available("es-1")


def test_another_operations_or_tenants_snapshot_is_no_evidence() -> None:
    assert shown(a_snapshot(operation_run_id="op-2")) == unavailable("none")
    assert shown(a_snapshot(operation_run_id=None)) == unavailable("none")
    assert shown(a_snapshot()._replace(tenant_id="t-2")) == unavailable("none")


def test_without_a_linked_operation_nothing_is_shown_and_no_cause_given() -> None:
    assert shown(a_snapshot(), operation=DELETED) == unavailable(None)
    unlinked = a_run(operation_run_id=None)
    assert shown(a_snapshot(operation_run_id=None), operation=None, run=unlinked) == unavailable(None)


@pytest.mark.parametrize("status", ["draft", "running", "cancelled"])
def test_current_evidence_that_the_state_does_not_show_has_no_cause(status: str) -> None:
    operation = an_operation(outcome=None)
    assert shown(a_snapshot(), operation=operation, run=a_run(status)) == unavailable(None)
    assert shown(operation=operation, run=a_run(status)) == unavailable("none")


@pytest.mark.parametrize("status", ["failed", "partial"])
def test_a_failed_run_and_one_for_review_show_what_is_stored(status: str) -> None:
    assert shown(a_snapshot(), run=a_run(status)) == available("es-1")
    assert shown(run=a_run(status)) == unavailable("none")
    assert shown(a_snapshot(), run=a_run(status), operation=DELETED) == unavailable(None)
