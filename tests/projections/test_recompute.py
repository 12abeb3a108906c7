"""A run decided again from its stored facts: only a difference is published."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings

from contracts.decision import decode, encode
from projections.record import Key, RunRecord, decode_record
from projections.rules import POLICY
from tests.projections.builders import (
    TRACEPARENT,
    Fold,
    deleted,
    folded,
    operation,
    recompute,
    restore_that_went_well,
    run,
)
from tests.projections.histories import WITH_ORDERS, History, histories, small_limits

RUN = Key("run", "t-1", "rr-1")


def stored(fold: Fold, **changes: Any) -> Fold:
    """The same run as read from a store in which its document had these fields."""
    document = fold.document() | changes
    fold.workspace.load(RUN, decode_record(RUN, encode(document)))
    return fold


def decided_otherwise() -> Fold:
    """A run whose document says failed, as another version might have decided."""
    fold = Fold(*restore_that_went_well())
    document = fold.document()
    last = {"revision": 3, "state": "failed", "changed_at": "2026-11-01T10:00:00.000Z"}
    diagnostics = {**document["diagnostics"], "rule": "no_rule_of_ours"}
    return stored(fold, state="failed", timeline=[*document["timeline"][:-1], last], diagnostics=diagnostics)


def test_what_would_be_decided_as_it_is_is_left_alone() -> None:
    fold = stored(Fold(*restore_that_went_well()))
    before, changes = fold.document(), len(fold.changes)
    assert fold.take(recompute()) == ["ignored"]
    assert (fold.document(), len(fold.changes)) == (before, changes)


def test_a_document_that_differs_in_policy_alone_is_left_alone() -> None:
    fold = stored(Fold(*restore_that_went_well()), policy=POLICY - 1)
    assert fold.take(recompute()) == ["ignored"]


def test_another_wording_takes_a_revision_but_is_no_change_of_state() -> None:
    fold = stored(Fold(*restore_that_went_well()), reason="It went well, we think.")
    changes = len(fold.changes)
    assert fold.take(recompute(at=50)) == ["applied"]
    document = fold.document()
    assert document["revision"] == 4
    assert document["updated_at"] == "2026-11-01T10:00:50.000Z"
    assert document["reason"] == "Execution proof and post-run evidence are available."
    assert len(fold.changes) == changes


def test_another_state_is_a_change_of_origin_recompute() -> None:
    fold = decided_otherwise()
    assert fold.take(recompute(at=50, traceparent=TRACEPARENT)) == ["applied"]
    change = fold.last_change
    assert (change["from_state"], change["to_state"]) == ("failed", "completed_with_evidence")
    assert (change["origin"], change["revision"]) == ("recompute", 4)
    assert change["cause"] == {"entity": "restore_run", "id": "rr-1", "sequence": 1}
    assert change["changed_at"] == "2026-11-01T10:00:50.000Z"
    assert fold.effects.changes[-1].traceparent == TRACEPARENT
    assert [entry["revision"] for entry in fold.document()["timeline"]][-1] == 4


def test_a_document_that_is_wrong_in_its_state_alone_is_decided_again() -> None:
    """As after a hand that changed the record in Kafka: the fields that follow from the state are right."""
    fold = stored(Fold(*restore_that_went_well()), state="failed")
    assert fold.take(recompute()) == ["applied"]
    assert fold.last_change["to_state"] == "completed_with_evidence"


def test_it_happens_once() -> None:
    fold = decided_otherwise()
    assert fold.take(recompute(), recompute()) == ["applied", "ignored"]
    assert fold.revision() == 4


def test_what_was_decided_since_it_was_read_needs_no_second_decision() -> None:
    fold = decided_otherwise()
    assert fold.take(operation(2), recompute()) == ["applied", "ignored"]
    assert fold.revision() == 4


def test_an_unknown_run_and_a_deleted_one_are_left_alone() -> None:
    fold = Fold(run(), deleted(sequence=2))
    before = fold.stored()
    assert fold.take(recompute(), recompute("rr-9")) == ["ignored", "ignored"]
    assert fold.stored() == before


def test_it_bears_on_one_run_alone() -> None:
    fold = decided_otherwise()
    fold.take(run(id="rr-2"))
    before = fold.document("rr-2")
    fold.take(recompute())
    assert fold.document("rr-2") == before


@pytest.mark.parametrize("tenant", ["t-2", "t-1x"])
def test_it_bears_on_no_other_tenants_run(tenant: str) -> None:
    assert decided_otherwise().take(recompute(tenant=tenant)) == ["ignored"]


@settings(max_examples=150)
@given(histories(WITH_ORDERS))
def test_the_version_that_decided_has_nothing_to_decide_again(history: History) -> None:
    """Whatever happened, every document is what its facts say: nothing changes a fact without deciding again."""
    with small_limits():
        fold = folded(history)
        documents = {key: value for key, value in fold.stored().items() if key.kind == "run"}
        for key, value in documents.items():
            record = decode_record(key, value)
            assert isinstance(record, RunRecord)
            assert record.stored == decode(value)
            fold.workspace.load(key, record)
        orders = [recompute(key.id, tenant=key.tenant) for key in documents]
        assert set(fold.take(*orders)) <= {"ignored"}
        assert documents == {key: value for key, value in fold.stored().items() if key.kind == "run"}
