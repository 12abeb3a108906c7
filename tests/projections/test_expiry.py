"""Evidence expires in stream time: between the records where it would have, however late they are read."""

from __future__ import annotations

from typing import Any

import pytest

from projections.record import DELETION_MEMORY_MS
from tests.projections.builders import DAY, Fold, null, operation, run, snapshot, unreadable


def proven_until(expires: float) -> Fold:
    """A restore whose evidence expires at that moment; revision 3."""
    return Fold(run(), operation(), snapshot(expires=expires))


def test_evidence_expires_at_its_moment() -> None:
    fold = proven_until(60)
    fold.take(null(at=59.999))
    assert fold.state() == "completed_with_evidence"
    fold.take(null(at=60))
    assert fold.state() == "completed_proof_incomplete"
    assert fold.document()["post_run_evidence"]["cause"] == "expired"
    assert fold.inputs()["evidence_snapshots"][0]["status"] == "active"
    assert fold.count("expired") == 1


def test_an_expiry_is_an_input_of_its_own() -> None:
    fold = proven_until(60)
    fold.take(null(at=300))
    document = fold.document()
    assert document["revision"] == 4
    assert document["updated_at"] == document["changed_at"] == "2026-11-01T10:01:00.000Z"
    change = fold.last_change
    assert change["origin"] == "deadline"
    assert change["cause"] == {"entity": "evidence_snapshot", "id": "es-1", "sequence": 1}
    assert fold.effects.changes[-1].traceparent is None


@pytest.mark.parametrize("at", [60, 61, 10**6])
def test_it_comes_before_records_of_its_time(at: float) -> None:
    """The event that is applied at the very moment finds the evidence expired, and takes the next revision."""
    fold = proven_until(60)
    fold.take(run(2, "failed", at=at))
    assert [change["to_state"] for change in fold.changes[-2:]] == ["completed_proof_incomplete", "failed"]
    assert [change["revision"] for change in fold.changes[-2:]] == [4, 5]


def test_it_comes_after_records_before_its_time() -> None:
    fold = proven_until(60)
    fold.take(run(2, "failed", at=59.999), null(at=60))
    assert [change["to_state"] for change in fold.changes[-2:]] == ["completed_with_evidence", "failed"]
    assert fold.revision() == 5


def test_what_would_have_renewed_the_evidence_comes_too_late_at_its_moment() -> None:
    fold = proven_until(60)
    fold.take(snapshot(2, at=60, expires=120))
    assert [change["to_state"] for change in fold.changes[-2:]] == [
        "completed_proof_incomplete",
        "completed_with_evidence",
    ]


def test_evidence_that_was_renewed_in_time_expires_later() -> None:
    fold = proven_until(60)
    fold.take(snapshot(2, at=59, expires=120), null(at=119))
    assert (fold.state(), fold.revision()) == ("completed_with_evidence", 4)
    fold.take(null(at=120))
    assert (fold.state(), fold.revision()) == ("completed_proof_incomplete", 5)


def test_it_expires_once() -> None:
    fold = proven_until(60)
    fold.take(null(at=60), null(at=61), run(2, at=62))
    assert fold.count("expired") == 1
    assert fold.revision() == 5


def test_expiries_fall_in_order_of_time() -> None:
    fold = Fold(run(), operation())
    fold.take(snapshot(id="es-1", expires=90), snapshot(id="es-2", expires=30), snapshot(id="es-3", expires=60))
    fold.take(null(at=100))
    assert fold.document()["revision"] == 8
    assert fold.last_change["cause"]["id"] == "es-1"
    assert fold.last_change["changed_at"] == "2026-11-01T10:01:30.000Z"


def test_a_snapshot_that_comes_in_expired_is_expired_at_once() -> None:
    """Without an expiry of its own: its event is the one revision."""
    fold = Fold(run(), operation(), null(at=100), snapshot(expires=60, at=100))
    assert (fold.state(), fold.revision()) == ("completed_proof_incomplete", 3)
    assert fold.document()["post_run_evidence"]["cause"] == "expired"
    assert fold.count("expired") == 0
    fold.take(null(at=200))
    assert fold.revision() == 3


def test_not_after_stream_time_is_past() -> None:
    assert Fold(run(), operation(), snapshot(expires=100, at=100)).state() == "completed_proof_incomplete"
    assert Fold(run(), operation(), snapshot(expires=100.001, at=100)).state() == "completed_with_evidence"


def test_stream_time_counts_not_the_records_own_time() -> None:
    """A record whose timestamp lies behind others is judged by how far time has come."""
    fold = Fold(run(), operation(), null(at=100), snapshot(expires=60, at=50))
    assert fold.state() == "completed_proof_incomplete"


@pytest.mark.parametrize("status", ["queued", "generating", "superseded", "expired", "failed"])
def test_only_active_snapshots_expire(status: Any) -> None:
    fold = Fold(run(), operation(), snapshot(1, status, expires=60), null(at=100))
    assert (fold.revision(), fold.count("expired")) == (3, 0)
    assert fold.inputs()["evidence_snapshots"][0]["expired"] is False
    late = Fold(run(), operation(), null(at=100), snapshot(1, status, expires=60, at=100))
    assert late.inputs()["evidence_snapshots"][0]["expired"] is False


def test_a_snapshot_that_is_no_longer_active_does_not_expire() -> None:
    fold = proven_until(60)
    fold.take(snapshot(2, "superseded", at=30, expires=60), null(at=100))
    assert fold.document()["post_run_evidence"]["cause"] == "superseded"
    assert fold.count("expired") == 0


def test_a_snapshot_without_operation_expires_nowhere() -> None:
    fold = Fold(run(), snapshot(op=None, expires=60), null(at=100))
    assert fold.count("expired") == 0
    fold.take(snapshot(2, expires=60, at=101))
    assert fold.state() == "completed_proof_incomplete"


def test_a_snapshot_expires_although_no_run_is_there_to_see_it() -> None:
    fold = Fold(operation(), snapshot(expires=60), null(at=100), run(at=100))
    assert (fold.state(), fold.revision()) == ("completed_proof_incomplete", 1)


def test_a_moved_snapshot_expires_where_it_is() -> None:
    fold = proven_until(60)
    fold.take(run(id="rr-2", op="op-2"), snapshot(2, op="op-2", expires=60), null(at=60))
    assert (fold.revision("rr-1"), fold.revision("rr-2")) == (4, 3)


def test_expired_evidence_stays_expired_whatever_is_said_of_others() -> None:
    fold = proven_until(60)
    fold.take(null(at=60), operation(2, at=61), run(2, at=62))
    assert fold.inputs()["evidence_snapshots"][0]["expired"] is True
    assert fold.state() == "completed_proof_incomplete"


def test_an_expiry_bears_on_all_runs_of_the_operation() -> None:
    fold = proven_until(60)
    fold.take(run(id="rr-2"), null(at=60))
    assert [change["restore_run_id"] for change in fold.changes[-2:]] == ["rr-1", "rr-2"]


# Stream time


def test_stream_time_is_the_largest_timestamp_of_any_record() -> None:
    """Of stale, ignored and unreadable ones as well; it never goes back."""
    fold = Fold(run(at=10))
    for input, reached in [
        (run(at=20), 20),
        (null(at=30), 30),
        (unreadable("operation_run", at=40), 40),
        (operation(at=25), 40),
    ]:
        fold.take(input)
        assert fold.stream_time == reached


def test_stream_time_is_never_beyond_the_present() -> None:
    """A record stamped in 2099 expires nothing and forgets nothing."""
    fold = Fold(run(), operation(), snapshot(expires=60), present=50)
    fold.take(null(at=10**9))
    assert fold.state() == "completed_with_evidence"
    assert fold.stream_time == 50
    fold.present += 10_000
    fold.take(null(at=10**9))
    assert fold.state() == "completed_proof_incomplete"


def test_the_present_does_not_turn_stream_time_back() -> None:
    fold = Fold(null(at=100), present=100)
    fold.present -= 50_000
    fold.take(null(at=200))
    assert fold.stream_time == 100


def test_a_record_from_the_future_is_applied_all_the_same() -> None:
    fold = Fold(run(at=10**6), present=50)
    assert fold.document()["updated_at"] == "2026-11-12T23:46:40.000Z"


def test_a_deletions_memory_ends_in_the_same_order_of_time() -> None:
    assert DELETION_MEMORY_MS == 30 * DAY * 1000
    fold = Fold(run(), operation(), snapshot(expires=31 * DAY), null(at=40 * DAY))
    assert fold.last_change["changed_at"] == "2026-12-02T10:00:00.000Z"
