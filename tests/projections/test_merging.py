"""Which events count: the larger sequence of each entity, whatever comes in between, twice or late."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.facts import Entity
from projections.advance import Input
from tests.projections.builders import Fold, deleted, folded, null, operation, rejected, run, snapshot, unreadable
from tests.projections.histories import (
    OPERATION_EVENTS,
    RUN_EVENTS,
    SNAPSHOT_EVENTS,
    WITH_ORDERS,
    History,
    histories,
    in_time,
    small_limits,
)
from tests.projections.second_fold import SecondFold

Builder = Callable[..., Input]
EACH: list[tuple[Entity, Builder]] = [
    ("restore_run", run),
    ("operation_run", operation),
    ("evidence_snapshot", snapshot),
]
each_entity = pytest.mark.parametrize(("entity", "event"), EACH, ids=[entity for entity, _ in EACH])
each_event = pytest.mark.parametrize("event", [run, operation, snapshot])


# The four ends of an input


@each_event
def test_a_larger_sequence_is_applied(event: Builder) -> None:
    assert Fold().take(event(3), event(4), event(100)) == ["applied", "applied", "applied"]


@each_entity
def test_an_equal_or_smaller_sequence_is_stale_and_changes_nothing(entity: Entity, event: Builder) -> None:
    fold = Fold(run(5), operation(5), snapshot(5))
    before, changes = fold.stored(), list(fold.changes)
    others = {"restore_run": "running", "operation_run": "running", "evidence_snapshot": "superseded"}
    assert fold.take(event(5, others[entity]), event(4, others[entity]), event(0)) == ["stale", "stale", "stale"]
    assert (fold.stored(), fold.changes) == (before, changes)


@each_event
def test_sequence_zero_is_a_sequence(event: Builder) -> None:
    assert Fold().take(event(0), event(0), event(1)) == ["applied", "stale", "applied"]


@each_entity
def test_a_deletion_wins_an_equal_sequence(entity: Entity, event: Builder) -> None:
    assert Fold(event(5)).take(deleted(entity, 5)) == ["applied"]


@each_entity
def test_a_deletion_does_not_win_a_deletion_of_equal_sequence(entity: Entity, event: Builder) -> None:
    fold = Fold(event(5), deleted(entity, 5))
    before = fold.stored()
    assert fold.take(deleted(entity, 5), deleted(entity, 4)) == ["stale", "stale"]
    assert fold.stored() == before


@each_entity
def test_nothing_but_a_larger_sequence_wins_a_deletion(entity: Entity, event: Builder) -> None:
    fold = Fold(event(3), deleted(entity, 5))
    assert fold.take(event(4), event(5), event(6)) == ["stale", "stale", "applied"]


@each_event
def test_sequences_of_different_entities_are_not_compared(event: Builder) -> None:
    fold = Fold(run(50, id="a"), operation(50, id="a"), snapshot(50, id="a"))
    assert fold.take(event(1, id="b")) == ["applied"]


@each_event
def test_entities_of_one_id_are_different_ones(event: Builder) -> None:
    """A run, an operation and a snapshot may be called the same."""
    fold = Fold(run(5, id="x", op="x"), operation(6, id="x"), snapshot(7, id="x", op="x"))
    assert fold.state("x") == "completed_with_evidence"
    assert fold.take(event(8, id="x")) == ["applied"]


def test_a_null_value_is_ignored() -> None:
    fold = Fold(run())
    before = fold.stored()
    assert fold.take(null(), null("operation_run")) == ["ignored", "ignored"]
    assert (fold.stored(), fold.letters) == (before, [])


def test_what_is_no_event_is_a_dead_letter_and_nothing_else() -> None:
    fold = Fold(run())
    before = fold.stored()
    bad = rejected("not_json")
    assert fold.take(bad) == ["dead_letter"]
    assert fold.letters == [(bad.record, "not_json")]
    assert fold.stored() == before


# Tenants


def test_tenants_never_join() -> None:
    """All ids are equal, and the other tenant's entities are complete."""
    fold = Fold(operation(tenant="t-2"), snapshot(tenant="t-2"), run(op="op-1"))
    assert fold.inputs()["operation_run"] is None
    assert fold.evidence() == []
    assert fold.state() == "completed_proof_incomplete"


def test_another_tenants_events_are_not_compared_and_bear_on_nothing() -> None:
    fold = Fold(run(5), operation(5), snapshot(5))
    before = fold.document()
    others = [run(1, tenant="t-2"), operation(1, "completed", "failed", tenant="t-2"), snapshot(1, tenant="t-2")]
    others += [deleted(entity, 9, tenant="t-2") for entity, _ in EACH]
    others += [unreadable(entity, 10, tenant="t-2") for entity, _ in EACH]
    assert fold.take(*others) == [*6 * ["applied"], *3 * ["dead_letter"]]
    assert fold.document() == before


def test_a_tenants_id_does_not_run_into_the_entitys() -> None:
    fold = Fold(run(id="b.c", tenant="a"), run(id="c", tenant="a.b", status="failed"))
    assert fold.document("b.c", tenant="a")["state"] == "completed_proof_incomplete"
    assert fold.document("c", tenant="a.b")["state"] == "failed"


# At random


@settings(max_examples=400)
@given(histories(WITH_ORDERS))
def test_two_folds_written_apart_agree_after_every_step(history: History) -> None:
    """Outcomes, documents byte for byte, changes with their traces, dead letters; revisions are in the documents."""
    with small_limits() as limits:
        fold, second = Fold(), SecondFold(limits)
        for input in history:
            assert fold.take(input) == [second.take(input, fold.present)]
            assert _documents(fold) == second.documents()
        assert [(change.body, change.traceparent) for change in fold.effects.changes] == second.changes
        assert fold.letters == second.letters


@settings(max_examples=150)
@given(histories(), st.data())
def test_events_that_come_again_change_nothing(history: History, data: st.DataObject) -> None:
    """At any later time within the memory of deletions, in any order, as often as you like."""
    events = [event for event in history if _is_entity_event(event)]
    with small_limits(), pytest.MonkeyPatch.context() as patch:
        patch.setattr("projections.workspace.DELETION_MEMORY_MS", 10**9)
        patch.setattr("projections.runs.MAX_LINKS", 100)
        fold = folded(history)
        before = fold.stored()
        again = data.draw(st.lists(st.sampled_from(events or [null()]), max_size=10))
        outcomes = fold.take(*again)
        assert set(outcomes) <= {"stale", "ignored"}
        assert fold.stored() == before


def _is_entity_event(input: Input) -> bool:
    return input.record.value is not None and not input.record.value.endswith(
        (b"unreadable", b"recompute", b"not_json")
    )


@st.composite
def _versions(draw: st.DrawFn) -> list[Input]:
    """Events of few entities, each sequence once: a change, or now and then a deletion of a run or a snapshot."""
    events: dict[tuple[str, int], Input] = {}
    for change in draw(st.lists(st.one_of(RUN_EVENTS, OPERATION_EVENTS, SNAPSHOT_EVENTS), max_size=14)):
        entity, id, sequence = _identity(change)
        tenant = (change.record.key or b"").decode()
        is_deletion = entity != "operation_run" and draw(st.integers(0, 5)) == 0
        event = deleted(entity, sequence, id=id, tenant=tenant) if is_deletion else change
        events[f"{entity}/{tenant}/{id}", sequence] = event
    return list(events.values())


def _identity(input: Input) -> tuple[Entity, str, int]:
    event: Any = input.event
    return event.entity, event.id, event.sequence


@settings(max_examples=200)
@given(_versions(), st.randoms(use_true_random=False))
def test_any_order_of_events_ends_with_the_same_facts(events: list[Input], random: Any) -> None:
    """As far as sequences differ. How often something was applied depends on the order, and so do revisions.

    An operation's deletion is left out: its last outcome counts on, and that is the last one that came before.
    """
    shuffled = list(events)
    random.shuffle(shuffled)
    first, other = folded(_at_one_time(events)), folded(_at_one_time(shuffled))
    for fold in (first, other):
        fold.pass_time(100)
    assert _decisions(first) == _decisions(other)


def _at_one_time(events: list[Input]) -> list[Input]:
    return in_time(events, [0] * len(events))


def _decisions(fold: Fold) -> dict[str, Any]:
    """Documents without what tells of the way there, and facts without the places where they lay."""
    of_the_way = {"revision", "previous_state", "timeline", "changed_at", "updated_at"}
    found = {}
    for key in fold.workspace.existing():
        if key.kind == "run":
            document = fold.document(key.id, tenant=key.tenant)
            inputs = document["diagnostics"]["inputs"]
            for facts in [inputs["restore_run"], inputs["operation_run"], *inputs["evidence_snapshots"]]:
                if facts is not None:
                    del facts["source"]
            found[str(key)] = {name: value for name, value in document.items() if name not in of_the_way}
    return found


def _documents(fold: Fold) -> dict[str, bytes]:
    return {str(key): value for key, value in fold.stored().items() if key.kind == "run"}


def test_the_outcome_of_an_operation_that_comes_after_its_deletion_is_not_known() -> None:
    """The deletion has the larger sequence, so what comes late is stale, and what it said is not taken over."""
    in_order = Fold(run(), operation(1, outcome="failed"), deleted("operation_run", 2))
    reordered = Fold(run(), deleted("operation_run", 2), operation(1, outcome="failed"))
    assert in_order.state() == "failed"
    assert reordered.state() == "completed_proof_incomplete"
    assert reordered.document()["claims"]["allowed"] == []
