"""Who belongs to whom: a run names an operation, a snapshot names an operation, in whatever order they come."""

from __future__ import annotations

from itertools import permutations

import pytest

from projections.advance import Input
from projections.record import MAX_LINKS
from tests.projections.builders import Fold, deleted, operation, run, snapshot


@pytest.mark.parametrize("order", list(permutations(["run", "operation", "snapshot"])), ids=", ".join)
def test_what_belongs_together_may_come_in_any_order(order: tuple[str, ...]) -> None:
    events: dict[str, Input] = {"run": run(), "operation": operation(), "snapshot": snapshot()}
    fold = Fold(*(events[name] for name in order))
    assert fold.state() == "completed_with_evidence"
    assert fold.inputs()["operation_run"]["status"] == "completed"
    assert fold.evidence() == ["es-1"]


def test_what_came_before_the_run_is_one_revision_with_it() -> None:
    """A revision counts what was applied to the run, and there was none."""
    fold = Fold(operation(), snapshot(), snapshot(2), run())
    assert fold.revision() == 1
    assert [change["to_state"] for change in fold.changes] == ["completed_with_evidence"]


def test_a_run_that_names_nothing_joins_nothing() -> None:
    """Null joins nothing: not even a snapshot that names no operation."""
    fold = Fold(snapshot(op=None), run(op=None), operation())
    assert fold.inputs()["operation_run"] is None
    assert fold.evidence() == []
    assert fold.take(snapshot(2, op=None), operation(2)) == ["applied", "applied"]
    assert fold.revision() == 1


def test_several_runs_may_name_one_operation() -> None:
    fold = Fold(run(id="rr-2"), run(id="rr-1"), operation(outcome="failed"))
    assert (fold.state("rr-1"), fold.state("rr-2")) == ("failed", "failed")
    assert [change["restore_run_id"] for change in fold.changes[2:]] == ["rr-1", "rr-2"]


# Relinking


def test_a_relinked_run_is_decided_from_its_new_operation() -> None:
    fold = Fold(operation(outcome="failed"), operation(id="op-2"), snapshot(op="op-2"), run())
    assert fold.state() == "failed"
    fold.take(run(2, op="op-2"))
    assert fold.state() == "completed_with_evidence"
    assert fold.document()["operation_run_id"] == "op-2"
    assert fold.inputs()["operation_run"]["id"] == "op-2"


def test_an_operation_that_a_run_has_left_no_longer_bears_on_it() -> None:
    fold = Fold(operation(), run(), run(2, op="op-2"))
    before = fold.document()
    assert fold.take(operation(2, outcome="failed"), snapshot()) == ["applied", "applied"]
    assert fold.document() == before
    assert fold.take(operation(id="op-2", outcome="failed")) == ["applied"]
    assert fold.state() == "failed"


def test_a_relinked_run_leaves_others_where_they_are() -> None:
    fold = Fold(run(id="rr-1"), run(id="rr-2"), operation())
    before = fold.document("rr-2")
    fold.take(run(2, id="rr-1", op="op-2"))
    assert fold.document("rr-2") == before
    fold.take(operation(2))
    assert fold.revision("rr-2") == before["revision"] + 1


@pytest.mark.parametrize("target", [None, "op-2"])
def test_an_operation_that_nothing_is_known_of_leaves_no_record_behind(target: str | None) -> None:
    fold = Fold(run(), run(2, op=target))
    assert fold.operation("op-1") is None


def test_a_run_may_come_back_to_an_operation() -> None:
    fold = Fold(operation(), snapshot(), run(), run(2, op=None), run(3))
    assert fold.state() == "completed_with_evidence"
    assert _linked_runs(fold) == {"rr-1"}


def _linked_runs(fold: Fold) -> set[str]:
    record = fold.operation()
    assert record is not None
    return record.runs


def test_a_deleted_run_is_unlinked() -> None:
    fold = Fold(run(), operation(), deleted(sequence=2))
    assert _linked_runs(fold) == set()
    assert fold.take(operation(2)) == ["applied"]


# Too many


def _full() -> Fold:
    """An operation with as many runs as it may have: rr-0 and on."""
    return Fold(*(run(id=f"rr-{i}", op="op-1") for i in range(MAX_LINKS)))


def test_a_run_too_many_is_a_dead_letter() -> None:
    fold = _full()
    one_more = run(id="rr-x")
    assert fold.take(one_more) == ["dead_letter"]
    assert fold.letters == [(one_more.record, "too_many_links")]
    assert not fold.exists("rr-x")


def test_it_says_how_many_and_of_which_operation() -> None:
    fold = _full()
    fold.take(run(id="rr-x"))
    detail = fold.effects.letters[0].detail
    assert detail == "expected at most 1000 restore runs that name operation op-1, got one more"


def test_an_event_of_a_run_that_is_linked_already_is_not_one_too_many() -> None:
    assert _full().take(run(2, id="rr-7")) == ["applied"]


def test_what_was_refused_may_come_again_once_there_is_room() -> None:
    """A refused event is not applied, so its sequence is not remembered."""
    fold = _full()
    assert fold.take(run(id="rr-x"), deleted(id="rr-0"), run(id="rr-x")) == ["dead_letter", "applied", "applied"]
    assert fold.exists("rr-x")


def test_a_run_that_may_not_be_relinked_stays_as_it_was() -> None:
    fold = _full()
    fold.take(run(id="rr-x", op="op-2"))
    before = fold.document("rr-x")
    assert fold.take(run(2, "failed", id="rr-x", op="op-1")) == ["dead_letter"]
    assert fold.document("rr-x") == before
    assert fold.take(operation(id="op-2", outcome="failed")) == ["applied"]
    assert fold.state("rr-x") == "failed"


def test_a_stale_event_is_stale_whatever_its_link() -> None:
    fold = _full()
    fold.take(run(5, id="rr-x", op="op-2"))
    assert fold.take(run(4, id="rr-x", op="op-1")) == ["stale"]
    assert fold.letters == []


def test_the_limit_is_each_tenants_and_each_operations() -> None:
    fold = _full()
    assert fold.take(run(id="rr-x", op="op-2"), run(id="rr-x", tenant="t-2")) == ["applied", "applied"]
