"""A batch by example: what it writes and publishes, where it ends, and what it finds out about its store."""

from __future__ import annotations

import pytest

from projections.advance import Input
from projections.record import Key
from tests.projections.builders import (
    TOPICS,
    TRACEPARENT,
    Fold,
    deleted,
    ms,
    null,
    operation,
    placed,
    restore_that_went_well,
    run,
    snapshot,
    unreadable,
)
from tests.worker.batched import Batched, assert_same
from worker.errors import PositionMoved, StoreDamaged
from worker.ports import Position, StoredInternal


def test_every_record_of_the_store_is_published_and_the_other_way_round() -> None:
    worker = Batched()
    batch = worker.prepare(*restore_that_went_well())
    written = {(str(w.key).encode(), w.value) for w in batch.writes}
    compacted = (TOPICS.decision_state, TOPICS.internal)
    assert written == {(o.key, o.value) for o in batch.outputs if o.topic in compacted}
    assert len(written) == 3
    assert batch.documents == 1


def test_what_came_and_went_within_a_batch_is_not_written() -> None:
    """A run that was never there before and is gone again leaves a tombstone, as a reader may wait for its revision."""
    worker = Batched()
    worker.take(run(), deleted(sequence=2), run(3))
    assert [output.value is None for output in worker.documents] == [False]
    assert Key("deleted-run", "t-1", "rr-1") not in worker.records
    gone = Batched()
    gone.take(run(op=None), deleted(sequence=2))
    (tombstone,) = gone.documents
    assert (tombstone.value, list(tombstone.headers)) == (None, [("revision", b"2")])


def test_a_tombstone_carries_the_trace_of_the_deletion_and_no_other() -> None:
    """`traceparent` of the causing record is written as header on both outputs (interfaces, section 6)."""
    worker = Batched()
    worker.take(run(traceparent=TRACEPARENT), deleted(sequence=2))
    (tombstone,) = worker.documents
    assert "traceparent" not in dict(tombstone.headers)
    traced = Batched()
    traced.take(run(), deleted(sequence=2, traceparent=TRACEPARENT))
    assert dict(traced.documents[0].headers)["traceparent"] == TRACEPARENT.encode()
    assert dict(traced.changes[1][2])["traceparent"] == TRACEPARENT.encode()


def test_a_document_carries_the_trace_of_its_last_cause() -> None:
    worker = Batched()
    worker.take(run(traceparent=TRACEPARENT))
    worker.take(operation(traceparent=TRACEPARENT), snapshot())
    assert [dict(o.headers).get("traceparent") for o in worker.documents] == [TRACEPARENT.encode(), None]


def test_a_dead_letter_is_the_record_as_it_came() -> None:
    worker = Batched()
    bad = unreadable(sequence=4)
    worker.take(bad)
    (letter,) = worker.published[TOPICS.dead_letters]
    assert (letter.key, letter.value) == (bad.record.key, bad.record.value)
    assert dict(letter.headers)["dl_reason"] == b"schema_violation"
    assert dict(letter.headers)["dl_offset"] == b"4"


def test_deadlines_fall_in_an_idle_partition_as_they_do_between_records() -> None:
    worker, fold = Batched(), Fold()
    for taker in (worker, fold):
        taker.take(*restore_that_went_well(), snapshot(2, expires=60))
        taker.pass_time(60)
    assert_same(worker, fold)
    assert fold.last_change["origin"] == "deadline"


def test_more_deadlines_than_a_batch_takes_fall_in_several(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when all of them are of the same moment, as midnight is for many."""
    monkeypatch.setattr("worker.batch.MAX_DUE", 3)
    history = [run(id=f"rr-{i}", op=f"op-{i}") for i in range(8)]
    history += [snapshot(id=f"es-{i}", op=f"op-{i}", expires=60) for i in range(8)]
    worker, fold = Batched(), Fold()
    for taker in (worker, fold):
        taker.take(*history)
        taker.take(null(at=61))
    assert_same(worker, fold)
    assert fold.count("expired") == 8


def test_a_late_record_does_not_get_before_deadlines_that_were_due_already(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch that could not take all that fell due has reached their time; the next one begins with the others."""
    history = [run(id=f"rr-{i}", op=f"op-{i}") for i in range(3)]
    history += [snapshot(id=f"es-{i}", op=f"op-{i}", expires=60) for i in range(3)]
    late = operation(id="op-2", outcome="failed", at=59)
    worker, fold = Batched(), Fold()
    worker.take(*history)
    monkeypatch.setattr("worker.batch.MAX_DUE", 1)
    worker.commit(worker.prepare(until=ms(60)))
    worker.take(late)
    fold.take(*history)
    fold.pass_time(60)
    fold.take(late)
    assert_same(worker, fold)


def test_evidence_that_comes_in_beside_many_deadlines_waits_for_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of equal time, deadlines fall in the order of their keys, also one that was made in the same batch."""
    monkeypatch.setattr("worker.batch.MAX_DUE", 2)
    before = [run(), *(snapshot(id=id, expires=60) for id in ("es-1", "es-2", "es-3"))]
    worker, fold = Batched(), Fold()
    for taker in (worker, fold):
        taker.take(*before)
        taker.take(snapshot(id="es-9", at=30, expires=60), null(at=61))
    assert_same(worker, fold)
    assert fold.last_change["cause"]["id"] == "es-9"


def test_deadlines_that_bear_on_more_runs_than_a_batch_may_load_fall_in_several(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Four snapshots of operations with five runs each expire at one moment, and a batch may load ten records."""
    monkeypatch.setattr("worker.batch.MAX_LOADED", 10)
    history = [run(id=f"rr-{i}-{j}", op=f"op-{i}") for i in range(4) for j in range(5)]
    history += [snapshot(id=f"es-{i}", op=f"op-{i}", expires=60) for i in range(4)]
    worker, fold = Batched(), Fold()
    for taker in (worker, fold):
        taker.take(*history)
        taker.pass_time(61)
        taker.take(null(at=61))
    assert_same(worker, fold)
    assert fold.count("expired") == 4


def test_the_earliest_deadline_among_what_is_stored_is_known() -> None:
    batch = Batched().prepare(snapshot(expires=60), snapshot(id="es-2", expires=30), run())
    assert batch.earliest_due == ms(30)
    assert Batched().prepare(run()).earliest_due is None


def test_a_store_that_is_elsewhere_is_found_out_before_anything_is_published() -> None:
    worker = Batched()
    worker.partition.position = Position("life-1", 5, 5)
    with pytest.raises(PositionMoved, match="partition 0"):
        worker.prepare(run())


OPERATION = Key("operation", "t-1", "op-1")
RUN = Key("run", "t-1", "rr-1")
SNAPSHOT = Key("snapshot", "t-1", "es-1")


def _without(key: Key) -> Batched:
    """A store that has lost one key."""
    worker = Batched()
    worker.take(*restore_that_went_well(), snapshot(2, expires=60))
    del worker.records[key]
    return worker


@pytest.mark.parametrize(
    ("lost", "input"),
    [
        (OPERATION, run(2)),
        (OPERATION, snapshot(3)),
        (OPERATION, null(at=61)),
        (RUN, operation(2)),
        (RUN, null(at=61)),
        (SNAPSHOT, null(at=61)),
    ],
    ids=[
        "operation, run",
        "operation, snapshot",
        "operation, expiry",
        "run, operation",
        "run, expiry",
        "snapshot, expiry",
    ],
)
def test_a_key_that_was_lost_is_found_out(lost: Key, input: Input) -> None:
    """Records name each other from both ends; deciding without one of them could claim too much."""
    with pytest.raises(StoreDamaged, match="partition 0: the store contradicts itself"):
        _without(lost).prepare(input)


@pytest.mark.parametrize("value", [b"", b"{", b"[]", b"{}", b"null"])
@pytest.mark.parametrize("key", [OPERATION, RUN, SNAPSHOT], ids=str)
def test_a_value_that_is_none_of_ours_is_found_out(key: Key, value: bytes) -> None:
    worker = Batched()
    worker.take(*restore_that_went_well())
    worker.records[key] = value
    with pytest.raises(StoreDamaged, match=str(key)):
        worker.prepare(run(2), operation(2), snapshot(2))


def test_writes_say_what_the_indexes_need() -> None:
    batch = Batched().prepare(*restore_that_went_well(), snapshot(2, expires=60))
    dues = {write.key: write.due for write in batch.writes if isinstance(write, StoredInternal)}
    assert dues == {OPERATION: None, SNAPSHOT: ms(60)}


def test_offsets_of_outputs_move_the_position() -> None:
    """Changes and dead letters are not in the store, so they do not move it."""
    worker = Batched()
    batch = worker.prepare(run(), deleted(sequence=2), unreadable(sequence=2))
    topics = [output.topic for output in batch.outputs]
    assert topics == [TOPICS.decision_state, TOPICS.internal, *2 * [TOPICS.decision_changes], TOPICS.dead_letters]
    assert batch.position_after([70, 40, 1, 2, 3], TOPICS) == Position("life-1", 71, 41)


def test_outcomes_are_counted_by_topic() -> None:
    batch = Batched().prepare(run(), run(), null(), unreadable("operation_run"), placed(run(2), 7, 0))
    assert dict(batch.outcomes) == {
        (TOPICS.restore_runs, "applied"): 2,
        (TOPICS.restore_runs, "stale"): 1,
        (TOPICS.restore_runs, "ignored"): 1,
        (TOPICS.operation_runs, "dead_letter"): 1,
    }
