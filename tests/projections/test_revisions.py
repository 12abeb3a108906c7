"""Revisions, times, timeline and changes: what a document and a change tell of the way there.

Interfaces, section 6.
"""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings

from contracts.decision import TIMELINE_LENGTH
from contracts.documents import StateChange, StateDocument
from contracts.times import parse_time
from tests.projections.builders import (
    START,
    TRACEPARENT,
    Fold,
    deleted,
    folded,
    operation,
    restore_that_went_well,
    run,
    snapshot,
    unreadable,
)
from tests.projections.histories import WITH_SEQUENCES_FORGOTTEN, History, histories, small_limits

# Revisions


def test_the_first_revision_is_1() -> None:
    assert Fold(run()).revision() == 1


def test_an_event_with_equal_fields_takes_a_revision() -> None:
    fold = Fold(run(), run(2), run(3))
    assert fold.revision() == 3
    assert len(fold.changes) == 1


def test_every_event_that_bears_on_a_run_takes_one_revision() -> None:
    fold = Fold()
    for revision, event in enumerate(
        [
            run(),
            operation(),
            operation(2),
            snapshot(),
            snapshot(2, "superseded"),
            deleted("evidence_snapshot"),
            snapshot(10),
            unreadable(),
            run(10),
            deleted("operation_run"),
            deleted("operation_run", 10),
        ],
        1,
    ):
        fold.take(event)
        assert fold.revision() == revision


def test_a_stale_event_takes_no_revision() -> None:
    fold = Fold(*restore_that_went_well())
    fold.take(*restore_that_went_well())
    assert fold.revision() == 3


def test_two_runs_of_one_operation_count_each_for_itself() -> None:
    fold = Fold(run(), operation(), run(id="rr-2"), snapshot())
    assert (fold.revision("rr-1"), fold.revision("rr-2")) == (3, 2)


# Times


def test_updated_at_is_of_what_was_applied_last_and_changed_at_of_the_last_change() -> None:
    fold = Fold(run(at=1), operation(at=2), snapshot(at=3), snapshot(2, at=4))
    assert fold.document()["changed_at"] == "2026-11-01T10:00:03.000Z"
    assert fold.document()["updated_at"] == "2026-11-01T10:00:04.000Z"


def test_neither_goes_back_when_a_records_timestamp_does() -> None:
    fold = Fold(run(at=10), operation(1, "completed", "failed", at=5))
    document = fold.document()
    assert document["state"] == "failed"
    assert document["updated_at"] == document["changed_at"] == "2026-11-01T10:00:10.000Z"
    assert fold.last_change["changed_at"] == "2026-11-01T10:00:10.000Z"


def test_a_record_without_a_timestamp_is_of_1970() -> None:
    """Kafka says -1 where there is none."""
    fold = Fold(run(at=-START / 1000 - 0.001))
    assert fold.document()["updated_at"] == "1970-01-01T00:00:00.000Z"


# The timeline


def test_the_timeline_has_the_changes_of_state() -> None:
    fold = Fold(run(1, "running", at=1), operation(at=2), run(2, at=3), snapshot(at=4))
    assert fold.document()["timeline"] == [
        {"revision": 1, "state": "in_progress", "changed_at": "2026-11-01T10:00:01.000Z"},
        {"revision": 3, "state": "completed_proof_incomplete", "changed_at": "2026-11-01T10:00:03.000Z"},
        {"revision": 4, "state": "completed_with_evidence", "changed_at": "2026-11-01T10:00:04.000Z"},
    ]
    assert fold.document()["previous_state"] == "completed_proof_incomplete"


def test_it_keeps_the_last_20() -> None:
    fold = Fold(*(run(n, ["running", "failed"][n % 2], op=None) for n in range(1, 31)))
    timeline = fold.document()["timeline"]
    assert [entry["revision"] for entry in timeline] == list(range(11, 31))
    assert len(timeline) == TIMELINE_LENGTH


# Changes


def test_a_change_says_everything_that_a_router_needs() -> None:
    fold = Fold(run(at=1), operation(at=2), snapshot(3, at=60))
    assert fold.last_change == {
        "tenant_id": "t-1",
        "restore_run_id": "rr-1",
        "from_state": "completed_proof_incomplete",
        "to_state": "completed_with_evidence",
        "summary": "rr-1: Completed with evidence available (was: Completed, recovery proof incomplete)",
        "status": "Completed with evidence available",
        "reason": "Execution proof and post-run evidence are available.",
        "impact": "Review evidence before treating the restore as recovery proof.",
        "revision": 3,
        "severity": "info",
        "direction": "progress",
        "origin": "live",
        "cause": {"entity": "evidence_snapshot", "id": "es-1", "sequence": 3},
        "changed_at": "2026-11-01T10:01:00.000Z",
    }


def test_the_first_change_comes_from_nothing() -> None:
    change = Fold(run()).changes[0]
    assert (change["from_state"], change["direction"]) == (None, "initial")
    assert change["summary"] == "rr-1: Completed, recovery proof incomplete"


def test_there_is_no_change_without_a_change_of_state() -> None:
    assert len(Fold(run(), operation(), operation(2)).changes) == 1


def test_a_replayed_event_is_the_origin_of_its_change() -> None:
    fold = Fold(run(), operation(outcome="failed", origin="replay"), deleted(origin="replay"))
    assert [change["origin"] for change in fold.changes] == ["live", "replay", "replay"]


def test_a_trace_is_handed_on_to_the_change_and_the_document_that_it_causes() -> None:
    fold = Fold(run(), operation(outcome="failed", traceparent=TRACEPARENT))
    assert fold.effects.changes[-1].traceparent == TRACEPARENT
    assert list(fold.effects.traceparents.values()) == [TRACEPARENT]
    fold.take(run(2))
    assert list(fold.effects.traceparents.values()) == []


# At random


@settings(max_examples=100)
@given(histories(WITH_SEQUENCES_FORGOTTEN))
def test_revisions_and_times_only_grow_and_every_document_and_change_is_of_its_model(history: History) -> None:
    with small_limits():
        fold = Fold()
        last: dict[str, tuple[int, int, int]] = {}
        for input in history:
            fold.take(input)
            for key in fold.workspace.existing():
                if key.kind == "run":
                    document = fold.document(key.id, tenant=key.tenant)
                    StateDocument.model_validate(document)
                    changed_at, updated_at = parse_time(document["changed_at"]), parse_time(document["updated_at"])
                    assert changed_at <= updated_at
                    now = (document["revision"], changed_at, updated_at)
                    assert all(a >= b for a, b in zip(now, last.get(str(key), now), strict=True))
                    last[str(key)] = now
    for change in fold.changes:
        StateChange.model_validate(change)


@settings(max_examples=100)
@given(histories(WITH_SEQUENCES_FORGOTTEN))
def test_a_runs_changes_are_one_chain(history: History) -> None:
    """Each begins where the one before has ended, with a larger revision; the last one ends in the document's state."""
    with small_limits():
        fold = folded(history)
    chains: dict[tuple[str, str], list[tuple[int, str | None, str | None]]] = {}
    for change in fold.changes:
        name = (change["tenant_id"], change["restore_run_id"])
        chains.setdefault(name, []).append((change["revision"], change["from_state"], change["to_state"]))
    for (tenant, id), chain in chains.items():
        assert chain[0][1] is None
        for (revision, _, reached), (next_revision, start, end) in pairwise(chain):
            assert (start, next_revision > revision) == (reached, True)
            assert start != end
        record = fold.run(id, tenant=tenant)
        assert chain[-1][2] == (None if record is None else record.state)
