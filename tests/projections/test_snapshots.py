"""Evidence snapshots: with which operation they are, which of too many are kept, what moving them bears on."""

from __future__ import annotations

from typing import Any

import pytest

from projections.record import DELETION_MEMORY_MS, MAX_SNAPSHOTS, SnapshotRecord
from tests.projections.builders import DAY, Fold, deleted, ms, null, operation, run, snapshot, unreadable


def test_a_snapshot_without_operation_is_nobodys_evidence() -> None:
    fold = Fold(run(), operation(), snapshot(op=None))
    assert fold.evidence() == []
    assert fold.revision() == 2
    assert fold.snapshot() == SnapshotRecord(1, None, kept=False)


def test_a_snapshot_may_come_before_everything_else() -> None:
    fold = Fold(snapshot())
    assert fold.take(run(), operation()) == ["applied", "applied"]
    assert fold.state() == "completed_with_evidence"


# Moving


def _two_restores() -> Fold:
    """rr-1 by op-1 with es-1; rr-2 by op-2."""
    return Fold(run(), operation(), snapshot(), run(id="rr-2", op="op-2"), operation(id="op-2"))


def test_a_snapshot_that_moves_is_taken_from_one_operation_and_given_to_the_other() -> None:
    fold = _two_restores()
    fold.take(snapshot(2, op="op-2"))
    assert (fold.evidence("rr-1"), fold.evidence("rr-2")) == ([], ["es-1"])
    assert (fold.state("rr-1"), fold.state("rr-2")) == ("completed_proof_incomplete", "completed_with_evidence")


def test_a_move_bears_on_the_runs_of_both_operations() -> None:
    fold = _two_restores()
    fold.take(snapshot(2, op="op-2"))
    assert (fold.revision("rr-1"), fold.revision("rr-2")) == (4, 3)
    assert {change["restore_run_id"] for change in fold.changes[-2:]} == {"rr-1", "rr-2"}
    assert all(change["cause"]["id"] == "es-1" for change in fold.changes[-2:])


def test_a_run_that_leaves_together_with_the_snapshot_takes_one_revision_for_each_event() -> None:
    fold = _two_restores()
    fold.take(snapshot(2, op="op-2"), run(2, op="op-2"))
    assert (fold.revision("rr-1"), fold.state("rr-1")) == (5, "completed_with_evidence")


def test_a_snapshot_that_no_longer_names_an_operation_is_taken_out() -> None:
    fold = _two_restores()
    fold.take(snapshot(2, op=None))
    assert fold.evidence() == []
    assert fold.revision() == 4
    assert fold.snapshot() == SnapshotRecord(2, None, kept=False)
    fold.take(snapshot(3))
    assert fold.evidence() == ["es-1"]


def test_a_stale_move_moves_nothing() -> None:
    fold = _two_restores()
    fold.take(snapshot(3, op="op-2"))
    assert fold.take(snapshot(2, op="op-1")) == ["stale"]
    assert (fold.evidence("rr-1"), fold.evidence("rr-2")) == ([], ["es-1"])


def test_an_event_of_a_kept_snapshot_is_one_revision() -> None:
    fold = _two_restores()
    fold.take(snapshot(2, "superseded"), snapshot(3, "superseded"))
    assert fold.revision() == 5
    assert fold.document()["post_run_evidence"]["cause"] == "superseded"


# Too many


def _crowd(count: int = MAX_SNAPSHOTS, **fields: Any) -> list[Any]:
    """es-00 and on, superseded, each generated a second after the one before."""
    return [snapshot(1, "superseded", id=f"es-{i:02}", generated=i, **fields) for i in range(count)]


def test_an_operation_keeps_its_20_newest_snapshots() -> None:
    fold = Fold(run(), operation(), *_crowd(25))
    assert fold.evidence() == [f"es-{i:02}" for i in range(5, 25)]
    assert fold.count("evicted") == 5


def test_the_order_in_which_they_come_does_not_matter() -> None:
    fold = Fold(run(), operation(), *reversed(_crowd(25)))
    assert fold.evidence() == [f"es-{i:02}" for i in range(5, 25)]
    assert fold.count("evicted") == 5


def test_unknown_times_are_oldest_and_equal_ones_go_by_id() -> None:
    undated = snapshot(1, "superseded", id="es-99", generated=None)
    fold = Fold(run(), operation(), undated, *_crowd())
    assert "es-99" not in fold.evidence()
    equal = [snapshot(1, "superseded", id=f"es-{i:02}", generated=7) for i in range(MAX_SNAPSHOTS + 1)]
    assert Fold(run(), *reversed(equal)).evidence() == [f"es-{i:02}" for i in range(1, 21)]


def test_a_time_before_1970_is_newer_than_an_unknown_one() -> None:
    ancient = snapshot(1, "superseded", id="es-a", generated=-60 * 365 * DAY)
    undated = snapshot(1, "superseded", id="es-b", generated=None)
    fold = Fold(run(), *_crowd(MAX_SNAPSHOTS - 1), ancient, undated)
    assert "es-a" in fold.evidence()
    assert "es-b" not in fold.evidence()


def test_current_evidence_falls_out_last() -> None:
    """The first of those of the oldest time is the only current one; it stays, and so does the state."""
    fold = Fold(run(), operation(), snapshot(id="a-old", generated=0), *_crowd(MAX_SNAPSHOTS, at=1))
    assert "a-old" in fold.evidence()
    assert "es-00" not in fold.evidence()
    assert fold.state() == "completed_with_evidence"


@pytest.mark.parametrize(
    "old",
    [
        snapshot(1, "queued", id="a-old", generated=0),
        snapshot(1, "expired", id="a-old", generated=0),
        snapshot(1, "active", id="a-old", generated=0, expires=0),
        snapshot(1, "active", id="a-old", generated=-1),
    ],
    ids=["not active", "status expired", "expired", "predates the completion"],
)
def test_what_is_not_current_does_not_stay_for_being_active(old: Any) -> None:
    fold = Fold(run(), operation(completed=0), old, *_crowd(at=1))
    assert "a-old" not in fold.evidence()


def test_of_current_ones_the_oldest_falls_out() -> None:
    current = [snapshot(1, "active", id=f"es-{i:02}", generated=i) for i in range(MAX_SNAPSHOTS + 1)]
    assert Fold(run(), operation(), *reversed(current)).evidence() == [f"es-{i:02}" for i in range(1, 21)]


def test_a_snapshot_that_falls_out_as_it_comes_bears_on_nothing() -> None:
    """It is applied, so its sequence is known, but it is none of the operation's kept snapshots."""
    fold = Fold(run(), operation(), *_crowd())
    before = fold.document()
    too_old = snapshot(3, "superseded", id="es-x", generated=-5)
    assert fold.take(too_old, too_old) == ["applied", "stale"]
    assert fold.document() == before
    assert fold.snapshot("es-x") == SnapshotRecord(3, "op-1", kept=False, due=_memory_from(0))


def test_what_fell_out_is_remembered_like_a_deletion() -> None:
    fold = Fold(run(), operation(), *_crowd(MAX_SNAPSHOTS + 1, at=5))
    fallen = snapshot(1, "active", id="es-00", generated=100, at=6)
    assert fold.snapshot("es-00") == SnapshotRecord(1, "op-1", kept=False, due=_memory_from(5))
    assert fold.take(fallen) == ["stale"]
    fold.take(null(at=5 + 30 * DAY))
    assert fold.snapshot("es-00") is None
    assert fold.take(fallen) == ["applied"]


def test_what_fell_out_comes_back_with_a_newer_event() -> None:
    fold = Fold(run(), operation(), *_crowd(MAX_SNAPSHOTS + 1))
    fold.take(snapshot(2, id="es-00", generated=100))
    assert "es-00" in fold.evidence()
    assert "es-01" not in fold.evidence()
    assert fold.count("evicted") == 2


def test_one_that_was_deleted_makes_room_but_calls_nobody_back() -> None:
    fold = Fold(run(), operation(), *_crowd(MAX_SNAPSHOTS + 1))
    fold.take(deleted("evidence_snapshot", id="es-05"), snapshot(1, "superseded", id="es-90", generated=90))
    assert len(fold.evidence()) == MAX_SNAPSHOTS
    assert "es-00" not in fold.evidence()
    assert "es-01" in fold.evidence()


def test_what_falls_out_does_not_expire_any_more() -> None:
    expiring = snapshot(1, "active", id="es-old", generated=-1, expires=60)
    fold = Fold(run(), operation(), expiring, *_crowd(at=1))
    before = fold.revision()
    fold.take(null(at=61))
    assert fold.revision() == before
    assert fold.count("expired") == 0


def test_of_a_deleted_one_that_fell_out_before_the_memory_begins_anew() -> None:
    fold = Fold(run(), operation(), *_crowd(MAX_SNAPSHOTS + 1))
    fold.take(deleted("evidence_snapshot", 1, id="es-00", at=50))
    assert fold.snapshot("es-00") == SnapshotRecord(1, "op-1", kept=False, deleted=True, due=_memory_from(50))


def test_a_deletion_of_what_fell_out_bears_on_nothing() -> None:
    fold = Fold(run(), operation(), *_crowd(MAX_SNAPSHOTS + 1))
    before = fold.document()
    assert fold.take(deleted("evidence_snapshot", 1, id="es-00")) == ["applied"]
    assert fold.document() == before


def test_an_unreadable_event_of_what_fell_out_still_counts() -> None:
    """It may have been current evidence; until it can be read, nothing is claimed, and it is not forgotten."""
    fold = Fold(run(), operation(), *_crowd(MAX_SNAPSHOTS), snapshot(id="es-new", generated=50))
    fold.take(unreadable("evidence_snapshot", 2, id="es-00"))
    assert fold.unreadable() == ["evidence_snapshot/es-00"]
    assert fold.document()["diagnostics"]["rule"] == "input_unreadable"
    fold.take(null(at=31 * DAY))
    assert fold.unreadable() == ["evidence_snapshot/es-00"]
    fold.take(snapshot(3, "superseded", id="es-00", generated=-9))
    assert fold.unreadable() == []
    assert fold.state() == "completed_with_evidence"


def test_a_marked_one_that_falls_out_stays_marked() -> None:
    fold = Fold(run(), operation(), snapshot(1, "queued", id="es-old", generated=-1))
    fold.take(unreadable("evidence_snapshot", 2, id="es-old"), *_crowd(at=1))
    assert "es-old" not in fold.evidence()
    assert fold.unreadable() == ["evidence_snapshot/es-old"]
    assert fold.snapshot("es-old") == SnapshotRecord(1, "op-1", kept=False, due=None)


def _memory_from(at: float) -> int:
    since = ms(at)
    assert since is not None
    return since + DELETION_MEMORY_MS
