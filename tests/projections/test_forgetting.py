"""What operators have forgotten: sequences, for a source that counts anew, and records of tenants who have left."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.commands import ForgetKind, ForgetWhat
from contracts.facts import Entity
from projections.record import Key
from tests.projections.builders import (
    START,
    TRACEPARENT,
    Fold,
    deleted,
    folded,
    forget,
    operation,
    placed,
    run,
    snapshot,
    unreadable,
)
from tests.projections.histories import WITH_ORDERS, History, histories, small_limits
from tests.worker.batched import assert_same, batched

KINDS: list[tuple[ForgetKind, Entity]] = [
    ("run", "restore_run"),
    ("operation", "operation_run"),
    ("snapshot", "evidence_snapshot"),
]
each_kind = pytest.mark.parametrize(("kind", "entity"), KINDS)
EVENT: dict[Entity, Any] = {"restore_run": run, "operation_run": operation, "evidence_snapshot": snapshot}


def restored(at: int = 7) -> Fold:
    """A restore that went well, whose events all had this sequence."""
    return Fold(run(at), operation(at), snapshot(at))


def sequences(fold: Fold) -> tuple[int | None, int | None, int | None]:
    """Of run, operation and snapshot, as the run's document shows them."""
    inputs = fold.inputs()
    return tuple(
        fact["sequence"] for fact in (inputs["restore_run"], inputs["operation_run"], *inputs["evidence_snapshots"])
    )


# Sequences


@each_kind
def test_an_event_that_was_stale_is_the_newest_once_the_sequence_is_forgotten(kind: ForgetKind, entity: Entity) -> None:
    fold = restored()
    assert fold.take(EVENT[entity](3)) == ["stale"]
    assert fold.take(forget(kind), EVENT[entity](3)) == ["applied", "applied"]
    assert fold.take(EVENT[entity](3), EVENT[entity](4)) == ["stale", "applied"]


@each_kind
def test_so_it_is_with_a_deletion(kind: ForgetKind, entity: Entity) -> None:
    fold = restored()
    assert fold.take(forget(kind), deleted(entity, 0)) == ["applied", "applied"]


def test_the_sequence_of_a_deletion_is_forgotten_too() -> None:
    fold = restored()
    fold.take(*(deleted(entity, 8) for _, entity in KINDS))
    assert fold.take(run(3), operation(3), snapshot(3)) == ["stale", "stale", "stale"]
    assert fold.take(forget("deleted-run"), forget("operation"), forget("snapshot")) == ["applied"] * 3
    assert fold.take(run(3), operation(3), snapshot(3)) == ["applied"] * 3
    assert (fold.state(), sequences(fold)) == ("completed_with_evidence", (3, 3, 3))


def test_a_run_that_comes_back_after_that_goes_on_counting() -> None:
    fold = Fold(run(7), deleted(sequence=8), forget("deleted-run"), run(1))
    assert fold.revision() == 3


def test_what_is_known_stays_and_the_document_says_that_the_sequence_is_not() -> None:
    fold = restored()
    before = fold.document()
    assert fold.take(forget("operation", at=5)) == ["applied"]
    after = fold.document()
    assert sequences(fold) == (7, None, 7)
    before["diagnostics"]["inputs"]["operation_run"]["sequence"] = None
    assert after == before | {"revision": 4, "updated_at": "2026-11-01T10:00:05.000Z"}


def test_it_is_no_change_of_state() -> None:
    fold = restored()
    changes = len(fold.changes)
    fold.take(forget("run"), forget("operation"), forget("snapshot"))
    assert (len(fold.changes), fold.revision()) == (changes, 6)
    assert fold.state() == "completed_with_evidence"


def test_every_run_that_shows_the_fact_takes_a_revision() -> None:
    """Its document has other bytes, and those of one revision are always the same."""
    fold = restored()
    fold.take(run(1, id="rr-2"), run(1, id="rr-3", op=None))
    before = [fold.revision(id) for id in ("rr-1", "rr-2", "rr-3")]
    fold.take(forget("snapshot"))
    assert [fold.revision(id) for id in ("rr-1", "rr-2", "rr-3")] == [before[0] + 1, before[1] + 1, before[2]]


@pytest.mark.parametrize("kind", ["run", "deleted-run", "operation", "snapshot"])
@pytest.mark.parametrize("what", ["sequence", "everything"])
def test_it_happens_once(kind: ForgetKind, what: ForgetWhat) -> None:
    fold = restored()
    if kind == "deleted-run":
        fold.take(deleted(sequence=8))
    assert fold.take(forget(kind, what), forget(kind, what)) == ["applied", "ignored"]
    assert fold.take(forget(kind, what, id="unheard-of"), forget(kind, what, tenant="t-9")) == ["ignored"] * 2


def test_what_only_runs_know_of_has_no_sequence_to_forget() -> None:
    fold = Fold(run())
    before = fold.stored()
    assert fold.take(forget("operation"), forget("operation", "everything")) == ["ignored", "ignored"]
    assert fold.stored() == before


def test_a_snapshot_that_fell_out_or_belongs_to_nothing_is_known_without_a_sequence_as_well() -> None:
    fold = Fold(snapshot(7, op=None))
    assert fold.take(forget("snapshot"), snapshot(1)) == ["applied", "applied"]
    many = Fold(*(snapshot(7, id=f"es-{n:02}", generated=n) for n in range(21)))
    assert many.take(snapshot(1, id="es-00"), forget("snapshot", id="es-00")) == ["stale", "applied"]
    assert many.take(snapshot(1, id="es-00", generated=99)) == ["applied"]


def test_a_kept_snapshot_still_expires_and_still_falls_out() -> None:
    fold = Fold(run(), operation(), snapshot(7, expires=50), forget("snapshot"))
    fold.pass_time(60)
    assert fold.state() == "completed_proof_incomplete"
    assert fold.last_change["cause"] == {"entity": "evidence_snapshot", "id": "es-1", "sequence": None}
    fold.take(forget("run"), *(snapshot(9, id=f"new-{n:02}", generated=100 + n) for n in range(20)))
    assert "es-1" not in fold.evidence()
    assert fold.take(snapshot(1, id="es-1", generated=500)) == ["applied"]


def test_a_mark_stays_until_an_event_can_be_read() -> None:
    fold = restored()
    fold.take(unreadable("operation_run"), forget("operation"))
    assert fold.unreadable() == ["operation_run/op-1"]
    fold.take(operation(1))
    assert fold.unreadable() == []


# Everything


def test_a_run_is_removed_as_by_a_deletion_and_nothing_is_remembered() -> None:
    fold = restored()
    assert fold.take(forget("run", "everything", at=9, traceparent=TRACEPARENT)) == ["applied"]
    assert (fold.run(), fold.deleted_run()) == (None, None)
    change = fold.last_change
    assert (change["from_state"], change["to_state"], change["revision"]) == ("completed_with_evidence", None, 4)
    assert (change["severity"], change["direction"], change["origin"]) == ("info", "removed", "recompute")
    assert change["cause"] == {"entity": "restore_run", "id": "rr-1", "sequence": None}
    assert change["changed_at"] == "2026-11-01T10:00:09.000Z"
    assert fold.effects.changes[-1].traceparent == TRACEPARENT


def test_what_comes_back_begins_at_revision_1_whatever_its_sequence() -> None:
    fold = restored()
    fold.take(forget("run", "everything"), run(1))
    assert (fold.revision(), fold.last_change["from_state"]) == (1, None)
    fold.take(deleted(sequence=2), forget("deleted-run", "everything"), run(1))
    assert fold.revision() == 1


def test_an_operation_that_a_run_still_names_is_one_that_was_not_seen_yet() -> None:
    fold = Fold(run(), operation())
    fold.take(forget("operation", "everything"))
    assert (fold.operation(), fold.revision()) == (Fold(run()).operation(), 3)
    assert fold.document()["diagnostics"]["inconsistencies"] == ["operation_not_observed"]


def test_a_forgotten_snapshot_is_no_evidence_any_more() -> None:
    fold = restored()
    fold.take(forget("snapshot", "everything"))
    assert (fold.evidence(), fold.snapshot(), fold.state()) == ([], None, "completed_proof_incomplete")
    assert fold.last_change["origin"] == "recompute"


def test_marks_go_with_what_they_are_about() -> None:
    fold = restored()
    fold.take(unreadable("operation_run"), unreadable("evidence_snapshot"))
    fold.take(forget("snapshot", "everything"))
    assert fold.unreadable() == ["operation_run/op-1"]
    fold.take(forget("operation", "everything"))
    assert fold.unreadable() == []


# At random


def orders(fold: Fold, what: ForgetWhat, tenant: str = "t-1") -> list[Any]:
    return [
        forget(key.kind, what, id=key.id, tenant=tenant, at=10**4)
        for key in sorted(fold.stored())
        if key.tenant == tenant
    ]


@settings(max_examples=200)
@given(histories(WITH_ORDERS), st.randoms(use_true_random=False), st.integers(1, 4))
def test_in_whatever_order_a_tenant_is_forgotten_nothing_of_it_is_left(
    history: History, random: Any, size: int
) -> None:
    """And nothing of others is touched; in between, whatever a worker reads fits together."""
    with small_limits():
        fold = folded(history)
        others = {key: value for key, value in fold.stored().items() if key.tenant != "t-1"}
        left = orders(fold, "everything")
        random.shuffle(left)
        left = [placed(order, 10**6 + n, order_at(history)) for n, order in enumerate(left)]
        fold.take(*left)
        assert fold.stored() == others
        assert_same(batched([*history, *left], [size]), fold)
        gone = {c["restore_run_id"]: c["to_state"] for c in fold.changes if c["tenant_id"] == "t-1"}
        assert set(gone.values()) <= {None}


def order_at(history: History) -> float:
    """A moment at which nothing new falls due."""
    return (max((input.at for input in history), default=START) - START) / 1000


@settings(max_examples=200)
@given(histories(WITH_ORDERS), st.randoms(use_true_random=False))
def test_without_sequences_all_is_as_it_was_and_every_event_is_news(history: History, random: Any) -> None:
    with small_limits():
        fold = folded(history)
        before, changes = facts(fold), len(fold.changes)
        left = orders(fold, "sequence")
        random.shuffle(left)
        fold.take(*(placed(order, 10**6 + n, order_at(history)) for n, order in enumerate(left)))
        assert facts(fold) == before
        assert len(fold.changes) == changes
        for key in sorted(k for k in fold.stored() if k.tenant == "t-1" and k.kind != "run"):
            assert is_news(fold, key)


def facts(fold: Fold) -> dict[str, Any]:
    """What documents say, but for how often something happened, when it did last, and sequences."""
    found = {}
    for key in fold.stored():
        if key.kind == "run":
            document = fold.document(key.id, tenant=key.tenant)
            inputs = document["diagnostics"]["inputs"]
            for fact in [inputs["restore_run"], inputs["operation_run"], *inputs["evidence_snapshots"]]:
                if fact is not None and key.tenant == "t-1":
                    del fact["sequence"]
            found[str(key)] = {k: v for k, v in document.items() if k not in ("revision", "updated_at")}
    return found


def is_news(fold: Fold, key: Key) -> bool:
    """Whether a deletion with the smallest sequence is applied to the entity of a stored record."""
    entity: Entity = {"deleted-run": "restore_run", "operation": "operation_run"}.get(key.kind, "evidence_snapshot")  # type: ignore[assignment]
    at = (fold.workspace.stream_time - START) / 1000
    return fold.take(deleted(entity, 0, id=key.id, at=at)) == ["applied"]
