"""What is gone, how long that is remembered, and how it comes back."""

from __future__ import annotations

import pytest

from contracts.facts import Entity
from projections.record import DELETION_MEMORY_MS, DeletedRun, SnapshotRecord
from tests.projections.builders import (
    DAY,
    START,
    TRACEPARENT,
    Fold,
    deleted,
    ms,
    null,
    operation,
    restore_that_went_well,
    run,
    snapshot,
    unreadable,
)

MEMORY = 30 * DAY


def test_the_memory_is_30_days() -> None:
    assert DELETION_MEMORY_MS == MEMORY * 1000


# Restore runs


def test_a_deleted_run_has_no_document_and_says_so_in_a_change() -> None:
    fold = Fold(*restore_that_went_well(), deleted(sequence=2, at=5))
    assert not fold.exists()
    assert fold.last_change == {
        "tenant_id": "t-1",
        "restore_run_id": "rr-1",
        "from_state": "completed_with_evidence",
        "to_state": None,
        "summary": "rr-1: removed (was: Completed with evidence available)",
        "status": None,
        "reason": None,
        "impact": None,
        "revision": 4,
        "severity": "info",
        "direction": "removed",
        "origin": "live",
        "cause": {"entity": "restore_run", "id": "rr-1", "sequence": 2},
        "changed_at": "2026-11-01T10:00:05.000Z",
    }


def test_a_run_that_comes_back_goes_on_counting_with_an_empty_timeline() -> None:
    fold = Fold(*restore_that_went_well(), deleted(sequence=2), run(3, at=7))
    document = fold.document()
    assert document["revision"] == 5
    assert document["previous_state"] is None
    assert document["timeline"] == [
        {"revision": 5, "state": "completed_with_evidence", "changed_at": "2026-11-01T10:00:07.000Z"}
    ]
    assert fold.last_change["from_state"] is None
    assert fold.last_change["direction"] == "initial"
    assert fold.last_change["summary"] == "rr-1: Completed with evidence available"
    assert fold.deleted_run() is None


def test_a_deletion_is_remembered_for_ever_with_its_revision() -> None:
    fold = Fold(run(), deleted(sequence=5), null(at=1000 * DAY))
    assert fold.deleted_run() == DeletedRun(5, 2, START, START)
    assert fold.take(run(5, at=1000 * DAY), run(6, at=1000 * DAY)) == ["stale", "applied"]
    assert fold.revision() == 3


def test_the_deletion_of_an_unknown_run_is_remembered_and_publishes_nothing() -> None:
    """It takes no revision: the first document is of revision 1."""
    fold = Fold(deleted(sequence=5))
    assert fold.changes == []
    assert fold.deleted_run() == DeletedRun(5, 0, 0, 0)
    assert fold.take(run(4), run(6)) == ["stale", "applied"]
    assert fold.revision() == 1


def test_the_deletion_of_a_deleted_run_is_remembered_and_publishes_nothing() -> None:
    fold = Fold(run(), deleted(sequence=5), deleted(sequence=8, at=9))
    assert len(fold.changes) == 2
    assert fold.deleted_run() == DeletedRun(8, 2, START, START)
    assert fold.take(run(7), run(9)) == ["stale", "applied"]
    assert fold.revision() == 3


def test_a_run_may_come_and_go_as_often_as_it_likes() -> None:
    fold = Fold(run(1), deleted(sequence=1), run(2), deleted(sequence=2), run(3))
    assert fold.revision() == 5
    assert [change["revision"] for change in fold.changes] == [1, 2, 3, 4, 5]


def test_a_run_that_comes_back_may_be_linked_elsewhere() -> None:
    fold = Fold(operation(outcome="failed"), run(), deleted(sequence=2), run(3, op="op-2"))
    assert fold.state() == "completed_proof_incomplete"
    assert fold.take(operation(2, outcome="failed")) == ["applied"]
    assert fold.revision() == 3


def test_times_do_not_go_back_over_a_deletion() -> None:
    fold = Fold(run(at=10), deleted(sequence=2, at=20), run(3, at=5))
    assert fold.document()["updated_at"] == "2026-11-01T10:00:20.000Z"
    assert fold.document()["changed_at"] == "2026-11-01T10:00:20.000Z"


def test_a_late_deletion_does_not_turn_time_back_either() -> None:
    fold = Fold(run(at=10), deleted(sequence=2, at=3))
    assert fold.last_change["changed_at"] == "2026-11-01T10:00:10.000Z"


def test_a_deletion_hands_its_trace_on() -> None:
    fold = Fold(run(), deleted(sequence=2, traceparent=TRACEPARENT))
    assert [change.traceparent for change in fold.effects.changes] == [None, TRACEPARENT]


# Operation runs


def test_a_deleted_operation_takes_the_proof_but_not_its_outcome() -> None:
    fold = Fold(run(), operation(outcome="partially_succeeded"), snapshot(), deleted("operation_run"))
    assert fold.state() == "needs_review"
    assert fold.document()["operation_proof"] == {"state": "unavailable", "operation_run_id": None}
    facts = fold.inputs()["operation_run"]
    assert (facts["deleted"], facts["outcome"], facts["sequence"]) == (True, "partially_succeeded", 9)


def test_a_deleted_operation_is_a_fact_of_its_deletions_place_in_kafka() -> None:
    fold = Fold(run(), operation(), deleted("operation_run", at=3))
    assert fold.inputs()["operation_run"]["source"] == {
        "topic": "restore.operation-runs.v1",
        "partition": 0,
        "offset": 9,
        "timestamp": ms(3),
    }


def test_an_operation_deleted_before_anything_was_known_of_it() -> None:
    fold = Fold(deleted("operation_run"), run())
    assert fold.inputs()["operation_run"]["status"] is None
    assert fold.document()["diagnostics"]["inconsistencies"] == ["operation_deleted"]


def test_events_of_a_deleted_operation_still_count() -> None:
    """A revision counts what was applied to the operation that the run names, deleted or not."""
    fold = Fold(run(), operation(), deleted("operation_run", 2))
    assert fold.revision() == 3
    fold.take(deleted("operation_run", 3), snapshot())
    assert fold.revision() == 5


def test_an_operation_that_comes_back_is_linked_again() -> None:
    fold = Fold(run(), operation(), snapshot(), deleted("operation_run", 2), operation(3))
    assert fold.state() == "completed_with_evidence"
    assert fold.inputs()["operation_run"]["deleted"] is False


def test_an_operations_deletion_is_remembered_as_long_as_a_run_names_it() -> None:
    fold = Fold(run(), deleted("operation_run", 5), null(at=1000 * DAY))
    assert fold.take(operation(4, at=1000 * DAY)) == ["stale"]


def test_an_operations_deletion_that_no_run_names_is_remembered_for_30_days() -> None:
    fold = Fold(deleted("operation_run", 5, at=10), null(at=10 + MEMORY - 1))
    assert fold.take(operation(4, at=10 + MEMORY - 1)) == ["stale"]
    fold.take(null(at=10 + MEMORY))
    assert fold.operation() is None
    assert fold.count("forgotten") == 1
    assert fold.take(operation(4, at=10 + MEMORY)) == ["applied"]


def test_the_memory_begins_when_the_last_run_lets_go() -> None:
    fold = Fold(run(id="rr-1"), run(id="rr-2"), deleted("operation_run", 5))
    fold.take(run(2, id="rr-1", op=None, at=DAY), deleted(id="rr-2", at=50 * DAY))
    assert fold.take(operation(4, at=79 * DAY)) == ["stale"]
    fold.take(null(at=80 * DAY))
    assert fold.operation() is None


def test_a_run_that_links_to_a_deleted_operation_keeps_the_memory() -> None:
    fold = Fold(deleted("operation_run", 5), run(at=10 * DAY), null(at=100 * DAY))
    assert fold.take(operation(4, at=100 * DAY)) == ["stale"]


def test_a_newer_deletion_is_remembered_from_then_on() -> None:
    """The same deletion with a larger sequence, from a source that says it again, begins the 30 days anew."""
    fold = Fold(deleted("operation_run", 5), deleted("operation_run", 7, at=20 * DAY), null(at=49 * DAY))
    assert fold.take(operation(6, at=49 * DAY)) == ["stale"]
    fold.take(null(at=50 * DAY))
    assert fold.operation() is None


def test_a_deletion_whose_successor_cannot_be_read_is_not_forgotten() -> None:
    fold = Fold(deleted("operation_run", 5), unreadable("operation_run", 6), null(at=100 * DAY))
    assert fold.take(operation(4, at=100 * DAY), operation(7, at=100 * DAY)) == ["stale", "applied"]


def test_forgetting_an_operation_leaves_its_snapshots() -> None:
    fold = Fold(operation(), snapshot(), deleted("operation_run", 5), null(at=MEMORY))
    record = fold.operation()
    assert record is not None
    assert (record.operation, list(record.snapshots), record.due) == (None, ["es-1"], None)
    fold.take(run(at=MEMORY))
    assert fold.state() == "completed_with_evidence"
    assert fold.document()["diagnostics"]["inconsistencies"] == ["operation_not_observed"]


# Evidence snapshots


def test_a_deleted_snapshot_is_no_evidence() -> None:
    fold = Fold(*restore_that_went_well(), deleted("evidence_snapshot", 2))
    assert fold.evidence() == []
    assert fold.state() == "completed_proof_incomplete"
    assert fold.revision() == 4


def test_a_snapshots_deletion_is_remembered_for_30_days() -> None:
    fold = Fold(run(), deleted("evidence_snapshot", 5, at=10), null(at=10 + MEMORY - 1))
    assert fold.take(snapshot(4, at=10 + MEMORY - 1)) == ["stale"]
    fold.take(null(at=10 + MEMORY))
    assert fold.snapshot() is None
    assert fold.take(snapshot(4, at=10 + MEMORY)) == ["applied"]


def test_a_newer_deletion_of_a_snapshot_is_remembered_from_then_on() -> None:
    fold = Fold(deleted("evidence_snapshot", 5), deleted("evidence_snapshot", 7, at=20 * DAY), null(at=49 * DAY))
    assert fold.take(snapshot(6, at=49 * DAY)) == ["stale"]


def test_a_deletion_bears_on_nothing_when_the_snapshot_was_not_there() -> None:
    fold = Fold(run(), deleted("evidence_snapshot", 5), deleted("evidence_snapshot", 6))
    assert fold.revision() == 1


def test_a_snapshot_that_comes_back_may_be_elsewhere() -> None:
    fold = Fold(*restore_that_went_well(), run(id="rr-2", op="op-2"))
    fold.take(deleted("evidence_snapshot", 2), snapshot(3, op="op-2"))
    assert (fold.evidence("rr-1"), fold.evidence("rr-2")) == ([], ["es-1"])
    assert (fold.revision("rr-1"), fold.revision("rr-2")) == (4, 2)


def test_where_a_deleted_snapshot_was_is_known() -> None:
    fold = Fold(snapshot(op="op-2"), deleted("evidence_snapshot", 5))
    assert fold.snapshot() == SnapshotRecord(5, "op-2", kept=False, deleted=True, due=START + DELETION_MEMORY_MS)


def test_a_deleted_snapshot_does_not_expire() -> None:
    fold = Fold(run(), snapshot(expires=60), deleted("evidence_snapshot", 2), null(at=61))
    assert fold.revision() == 3
    assert fold.count("expired") == 0


@pytest.mark.parametrize("entity", ["operation_run", "evidence_snapshot"])
def test_the_memory_is_of_stream_time(entity: Entity) -> None:
    """A record with an older timestamp does not shorten it."""
    fold = Fold(null(at=10 * DAY), deleted(entity, 5, at=0), null(at=40 * DAY - 1))
    assert fold.count("forgotten") == 0
    fold.take(null(at=40 * DAY))
    assert fold.count("forgotten") == 1
