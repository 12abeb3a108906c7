"""Batches are a matter of speed: the same history gives the same records, however it is cut.

Here the worker's own batcher runs over a store that holds nothing but bytes, each batch on a workspace that knows only
what was read for it. What comes of it is held against one fold of the whole history in memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import count, cycle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.decision import decode, encode
from contracts.documents import change_headers
from contracts.events import Record
from projections.advance import Input, Outcome
from projections.record import Key, OperationRecord, SnapshotRecord
from tests.projections.builders import (
    TOPICS,
    TRACEPARENT,
    Fold,
    deleted,
    folded,
    ms,
    null,
    operation,
    placed,
    restore_that_went_well,
    run,
    snapshot,
    unreadable,
)
from tests.projections.histories import History, histories, small_limits
from tests.worker.fakes import FakeStore
from worker.batch import Batch, Batcher
from worker.errors import PositionMoved, StoreDamaged
from worker.merge import Merge
from worker.partition import Partition
from worker.ports import Ends, Output, Position, StoredInternal

PRESENT = 2**60
FIRST = Position("life-1", 0, 0)


class Batched:
    """One partition of a worker: its store, and what it has published by topic."""

    def __init__(self) -> None:
        self.store = FakeStore()
        self.store.begin_at(0, FIRST)
        self.partition = Partition(0, Merge(TOPICS.inputs), {}, 0, Ends(0, 0, 0, 0), FIRST)
        self.published: dict[str, list[Output]] = {topic: [] for topic in TOPICS.all}
        self.outcomes: list[tuple[str, Outcome]] = []
        self._says: dict[Record, Input] = {}
        self._batcher = Batcher(self.store, self._says.__getitem__, TOPICS)

    def prepare(self, *inputs: Input, until: int | None = None) -> Batch:
        self._says |= {input.record: input for input in inputs}
        return self._batcher.prepare(self.partition, [input.record for input in inputs], PRESENT, until)

    def take(self, *inputs: Input) -> None:
        """Take all of these inputs at once, or as many batches as the batcher makes of them."""
        left = list(inputs)
        while left:
            batch = self.prepare(*left)
            self.commit(batch)
            left = left[len(batch.taken) :]

    def pass_time(self, at: float) -> None:
        """Let deadlines fall as in an idle partition, in as many batches as it takes."""
        until = ms(at)
        assert until is not None
        while self.partition.next_due is not None and self.partition.next_due <= until:
            self.commit(self.prepare(until=until))

    def commit(self, batch: Batch) -> None:
        """What the loop does with a batch."""
        numbers = {topic: count(len(outputs)) for topic, outputs in self.published.items()}
        written = [next(numbers[output.topic]) for output in batch.outputs]
        for output in batch.outputs:
            self.published[output.topic].append(output)
        after = batch.position_after(written, TOPICS)
        self.store.apply(0, self.partition.position, after, batch.writes, restoring=False, applied_at=0)
        self.partition.position = after
        self.partition.stream_time = batch.stream_time
        self.partition.next_due = self.store.next_due(0, after)
        self.outcomes += batch.outcomes.elements()

    @property
    def records(self) -> dict[Key, bytes]:
        return self.store.copies[0].values

    @property
    def changes(self) -> list[tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]]:
        return [(o.key, o.value, list(o.headers)) for o in self.published[TOPICS.decision_changes]]

    @property
    def documents(self) -> list[Output]:
        return self.published[TOPICS.decision_state]


def batched(inputs: Sequence[Input], sizes: Iterable[int]) -> Batched:
    """The inputs in batches of these sizes, over and over."""
    worker = Batched()
    left = list(inputs)
    for size in cycle(sizes):
        if not left:
            return worker
        worker.take(*left[:size])
        left = left[size:]
    raise AssertionError("there is a size")


def changes_of(fold: Fold) -> list[tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]]:
    return [
        (str(change.key).encode(), encode(change.body), change_headers(change.body, TOPICS.prefix, change.traceparent))
        for change in fold.effects.changes
    ]


def assert_same(worker: Batched, fold: Fold) -> None:
    """Records, changes with their ids, dead letters and the store's indexes are those of the fold."""
    assert worker.records == fold.stored()
    assert worker.changes == changes_of(fold)
    letters = [(output.key, output.value) for output in worker.published[TOPICS.dead_letters]]
    assert letters == [(record.key, record.value) for record, _ in fold.letters]
    assert worker.partition.stream_time == fold.workspace.stream_time
    copy = worker.store.copies[0]
    records = {key: fold.workspace.find(key) for key in fold.workspace.existing()}
    dues = {k: r.due for k, r in records.items() if isinstance(r, OperationRecord | SnapshotRecord)}
    assert copy.dues == {key: due for key, due in dues.items() if due is not None}
    documents = {key: decode(value) for key, value in fold.stored().items() if key.kind == "run"}
    assert {key: state for key, (state, _) in copy.index.items()} == {k: d["state"] for k, d in documents.items()}


SIZES = st.lists(st.sampled_from([1, 1, 2, 3, 5, 8, 100]), min_size=1, max_size=5)


@settings(max_examples=250, deadline=None)
@given(histories(), SIZES)
def test_any_cut_gives_what_the_whole_history_gives(history: History, sizes: list[int]) -> None:
    """Bytes of documents and internal records, revisions, changes, ids of changes, dead letters, stream time."""
    with small_limits():
        worker = batched(history, sizes)
        assert_same(worker, folded(history))


@settings(max_examples=150, deadline=None)
@given(
    histories(), SIZES, st.sampled_from([1, 2, 1000]), st.sampled_from([1, 3, 20_000]), st.sampled_from([8, 12, 50_000])
)
def test_neither_do_the_limits_of_a_batch_matter(
    history: History, sizes: list[int], due: int, decided: int, loaded: int
) -> None:
    """A batch that would fall too much due, decide too much or load too much ends earlier, and nothing else changes."""
    with small_limits(), pytest.MonkeyPatch.context() as patch:
        patch.setattr("worker.batch.MAX_DUE", due)
        patch.setattr("worker.batch.MAX_DECIDED", decided)
        patch.setattr("worker.batch.MAX_LOADED", loaded)
        worker = batched(history, sizes)
        assert_same(worker, folded(history))


@settings(max_examples=100, deadline=None)
@given(histories(), SIZES)
def test_the_documents_published_in_between_are_those_of_the_fold_at_that_point(
    history: History, sizes: list[int]
) -> None:
    """Only a run's last document in a batch is written, so readers see revisions grow, not necessarily by one."""
    with small_limits():
        worker = batched(history, sizes)
        one_by_one = batched(history, [1])
    every = {(output.key, output.value) for output in one_by_one.documents}
    seen: dict[bytes | None, int] = {}
    for output in worker.documents:
        if output.value is not None:
            assert (output.key, output.value) in every
        revision = _revision(output)
        assert revision > seen.get(output.key, 0)
        seen[output.key] = revision


def _revision(output: Output) -> int:
    if output.value is None:
        return int(dict(output.headers)["revision"])
    revision: int = decode(output.value)["revision"]
    return revision


@settings(max_examples=100, deadline=None)
@given(histories(), st.integers(0, 40), st.integers(1, 20))
def test_a_batch_prepared_again_is_the_same(history: History, done: int, size: int) -> None:
    """Nothing is written before the transaction has committed, so a failed one can be made again."""
    with small_limits():
        worker = batched(history[:done], [7])
        first, again = worker.prepare(*history[done : done + size]), worker.prepare(*history[done : done + size])
    assert first.outputs == again.outputs
    assert first.writes == again.writes
    assert (first.stream_time, first.outcomes) == (again.stream_time, again.outcomes)


# By example


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
