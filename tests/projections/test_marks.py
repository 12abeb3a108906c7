"""What could not be read: the entity is marked, and what it bears on says so, until it can be read again.

Interfaces, section 7.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations

import pytest

from contracts.facts import Entity
from projections.advance import Input
from tests.projections.builders import (
    ID,
    TRACEPARENT,
    Fold,
    deleted,
    null,
    operation,
    rejected,
    restore_that_went_well,
    run,
    snapshot,
    unreadable,
)

ENTITIES: list[Entity] = ["restore_run", "operation_run", "evidence_snapshot"]
BUILDERS: dict[Entity, Callable[..., Input]] = {
    "restore_run": run,
    "operation_run": operation,
    "evidence_snapshot": snapshot,
}
each_entity = pytest.mark.parametrize("entity", ENTITIES)


def name(entity: Entity) -> str:
    return f"{entity}/{ID[entity]}"


@each_entity
def test_the_runs_that_a_marked_entity_bears_on_show_it(entity: Entity) -> None:
    fold = Fold(*restore_that_went_well())
    assert fold.take(unreadable(entity)) == ["dead_letter"]
    document = fold.document()
    assert document["diagnostics"]["rule"] == "input_unreadable"
    assert document["diagnostics"]["inconsistencies"] == ["unreadable_input"]
    assert document["claims"]["allowed"] == []
    assert fold.unreadable() == [name(entity)]


@each_entity
def test_marking_takes_a_revision_and_marking_again_does_not(entity: Entity) -> None:
    fold = Fold(*restore_that_went_well(), unreadable(entity, 7))
    assert fold.revision() == 4
    assert fold.take(unreadable(entity, 8), unreadable(entity, None)) == ["dead_letter", "dead_letter"]
    assert fold.revision() == 4
    assert len(fold.letters) == 3
    assert fold.count("marked") == 1


@each_entity
def test_any_event_of_the_entity_that_is_applied_takes_the_mark_away(entity: Entity) -> None:
    """Also one that is older than what could not be read, and one that says nothing new."""
    fold = Fold(*restore_that_went_well(), unreadable(entity, 50))
    assert fold.take(BUILDERS[entity](2)) == ["applied"]
    assert fold.unreadable() == []
    assert fold.state() == "completed_with_evidence"
    assert fold.revision() == 5


@each_entity
def test_a_stale_event_does_not_take_the_mark_away(entity: Entity) -> None:
    fold = Fold(*restore_that_went_well(), unreadable(entity, 50))
    assert fold.take(BUILDERS[entity](1)) == ["stale"]
    assert fold.unreadable() == [name(entity)]


@each_entity
def test_events_of_other_entities_do_not_take_the_mark_away(entity: Entity) -> None:
    fold = Fold(*restore_that_went_well(), unreadable(entity, 50))
    fold.take(*(BUILDERS[other](2) for other in ENTITIES if other != entity))
    assert fold.unreadable() == [name(entity)]


@each_entity
def test_a_deletion_takes_the_mark_away(entity: Entity) -> None:
    """Of a run, with everything else; of an operation or a snapshot it is known from then on that it is gone."""
    fold = Fold(*restore_that_went_well(), unreadable(entity, 50), deleted(entity, 60), run(70))
    assert fold.unreadable() == []


@each_entity
def test_what_is_not_newer_than_what_is_stored_marks_nothing(entity: Entity) -> None:
    fold = Fold(*(BUILDERS[each](5) for each in ENTITIES))
    before = fold.stored()
    assert fold.take(unreadable(entity, 5), unreadable(entity, 4)) == ["dead_letter", "dead_letter"]
    assert fold.stored() == before
    fold.take(unreadable(entity, 6))
    assert fold.unreadable() == [name(entity)]


@each_entity
def test_an_unreadable_sequence_marks_whatever_is_stored(entity: Entity) -> None:
    fold = Fold(*restore_that_went_well(), unreadable(entity, None))
    assert fold.unreadable() == [name(entity)]
    assert fold.last_change["cause"] == {"entity": entity, "id": ID[entity], "sequence": None}


@each_entity
def test_the_change_names_the_unreadable_event_as_its_cause(entity: Entity) -> None:
    fold = Fold(*restore_that_went_well(), unreadable(entity, 7, at=5, origin="replay", traceparent=TRACEPARENT))
    change = fold.last_change
    assert change["cause"] == {"entity": entity, "id": ID[entity], "sequence": 7}
    assert (change["from_state"], change["to_state"]) == ("completed_with_evidence", "completed_proof_incomplete")
    assert (change["origin"], change["changed_at"]) == ("replay", "2026-11-01T10:00:05.000Z")
    assert fold.effects.changes[-1].traceparent == TRACEPARENT


def test_a_mark_that_does_not_decide_is_shown_all_the_same() -> None:
    fold = Fold(run(status="failed"), unreadable())
    assert fold.state() == "failed"
    assert "unreadable_input" in fold.document()["diagnostics"]["inconsistencies"]
    assert (fold.revision(), len(fold.changes)) == (2, 1)


def test_several_marks_stand_side_by_side_in_order() -> None:
    fold = Fold(*restore_that_went_well(), *(unreadable(entity) for entity in ENTITIES))
    assert fold.unreadable() == ["evidence_snapshot/es-1", "operation_run/op-1", "restore_run/rr-1"]
    fold.take(operation(60))
    assert fold.unreadable() == ["evidence_snapshot/es-1", "restore_run/rr-1"]


def test_a_record_that_names_no_entity_marks_nothing() -> None:
    fold = Fold(*restore_that_went_well())
    before = fold.stored()
    fold.take(rejected("schema_violation"))
    assert fold.stored() == before


# Restore runs


def test_an_unknown_run_has_nothing_to_show_a_mark_on() -> None:
    """Its first readable event takes the mark away anyway."""
    fold = Fold(unreadable(), run())
    assert (fold.revision(), fold.unreadable()) == (1, [])
    assert fold.changes[0]["cause"]["sequence"] == 1


def test_neither_has_a_deleted_one() -> None:
    fold = Fold(run(), deleted(sequence=5), unreadable(sequence=6))
    assert not fold.exists()
    assert len(fold.changes) == 2


def test_a_runs_mark_is_its_own() -> None:
    fold = Fold(run(), run(id="rr-2"), unreadable())
    assert fold.unreadable("rr-2") == []
    assert fold.revision("rr-2") == 1


# Operation runs


def test_an_operation_never_seen_may_be_marked() -> None:
    fold = Fold(run(), unreadable("operation_run", 1))
    assert fold.unreadable() == ["operation_run/op-1"]
    assert fold.inputs()["operation_run"] is None
    fold.take(operation(1))
    assert fold.unreadable() == []


def test_a_run_that_links_to_a_marked_operation_later_shows_it() -> None:
    fold = Fold(unreadable("operation_run"), run())
    assert (fold.revision(), fold.unreadable()) == (1, ["operation_run/op-1"])
    fold.take(run(2, id="rr-2", op="op-2"), run(3, id="rr-2", op="op-1"))
    assert fold.unreadable("rr-2") == ["operation_run/op-1"]


def test_a_run_that_leaves_a_marked_operation_no_longer_shows_it() -> None:
    fold = Fold(run(), unreadable("operation_run"), run(2, op="op-2"))
    assert fold.unreadable() == []
    fold.take(run(3))
    assert fold.unreadable() == ["operation_run/op-1"]


def test_an_operations_mark_bears_on_all_its_runs() -> None:
    fold = Fold(run(id="rr-1"), run(id="rr-2"), run(id="rr-3", op="op-2"), unreadable("operation_run"))
    assert [fold.revision(id) for id in ("rr-1", "rr-2", "rr-3")] == [2, 2, 1]


def test_a_deleted_operation_may_be_marked() -> None:
    fold = Fold(run(), deleted("operation_run", 5), unreadable("operation_run", 6))
    assert (fold.revision(), fold.unreadable()) == (3, ["operation_run/op-1"])


# Evidence snapshots


def test_a_snapshot_never_seen_bears_on_nothing() -> None:
    """It is not known with which operation it is."""
    fold = Fold(run(), operation())
    before = fold.stored()
    fold.take(unreadable("evidence_snapshot"))
    assert fold.stored() == before


def test_neither_does_one_that_names_no_operation() -> None:
    fold = Fold(run(), snapshot(op=None))
    before = fold.stored()
    fold.take(unreadable("evidence_snapshot"))
    assert fold.stored() == before


def test_a_snapshots_mark_bears_on_the_runs_of_its_operation_also_later_ones() -> None:
    fold = Fold(run(), snapshot(), unreadable("evidence_snapshot"), run(id="rr-2"), run(id="rr-3", op="op-2"))
    assert fold.unreadable("rr-1") == fold.unreadable("rr-2") == ["evidence_snapshot/es-1"]
    assert fold.unreadable("rr-3") == []


def test_a_snapshot_that_moved_bears_on_its_last_known_operation() -> None:
    fold = Fold(run(), run(id="rr-2", op="op-2"), snapshot(), snapshot(2, op="op-2"))
    fold.take(unreadable("evidence_snapshot"))
    assert fold.unreadable("rr-1") == []
    assert fold.unreadable("rr-2") == ["evidence_snapshot/es-1"]


def test_a_marked_snapshot_that_moves_takes_no_mark_along_and_leaves_none_behind() -> None:
    fold = Fold(run(), run(id="rr-2", op="op-2"), snapshot(), unreadable("evidence_snapshot"))
    fold.take(snapshot(20, op="op-2"))
    assert fold.unreadable("rr-1") == fold.unreadable("rr-2") == []
    assert (fold.revision("rr-1"), fold.revision("rr-2")) == (4, 2)


def test_a_deleted_snapshot_bears_on_where_it_was() -> None:
    """Its newest event may be its return: until it can be read, nothing is claimed, and it is not forgotten."""
    fold = Fold(*restore_that_went_well(), deleted("evidence_snapshot", 5), unreadable("evidence_snapshot", 6))
    assert fold.unreadable() == ["evidence_snapshot/es-1"]
    assert fold.revision() == 5
    fold.take(null(at=10**8), snapshot(4))
    assert fold.unreadable() == ["evidence_snapshot/es-1"]
    fold.take(snapshot(7))
    assert (fold.unreadable(), fold.state()) == ([], "completed_with_evidence")


def test_a_deleted_snapshot_that_is_deleted_again_has_lost_its_mark() -> None:
    fold = Fold(run(), snapshot(), deleted("evidence_snapshot", 5), unreadable("evidence_snapshot", 6))
    fold.take(deleted("evidence_snapshot", 7))
    assert (fold.unreadable(), fold.revision()) == ([], 5)


def test_a_marked_snapshot_expires_all_the_same() -> None:
    fold = Fold(run(), operation(), snapshot(expires=60), unreadable("evidence_snapshot"), null(at=61))
    assert fold.revision() == 5
    assert fold.inputs()["evidence_snapshots"][0]["expired"] is True
    assert fold.unreadable() == ["evidence_snapshot/es-1"]


@pytest.mark.parametrize("order", list(permutations(["run", "snapshot", "mark"])), ids=", ".join)
def test_in_any_order_the_run_shows_the_mark_if_the_snapshot_was_known_before_it(order: tuple[str, ...]) -> None:
    events = {"run": run(), "snapshot": snapshot(), "mark": unreadable("evidence_snapshot")}
    fold = Fold(*(events[name] for name in order))
    known = order.index("snapshot") < order.index("mark")
    assert fold.unreadable() == (["evidence_snapshot/es-1"] if known else [])
