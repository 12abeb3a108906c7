"""From the log to the store: what can be followed from, and what has to be read from the beginning."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from contracts.decision import encode
from contracts.events import Record
from projections.record import DeletedRun, Key, OperationRecord, SnapshotRecord, encode_internal
from projections.rules import POLICY
from tests.projections.builders import Fold, restore_that_went_well, run
from tests.worker.fakes import NOW, TOPICS, Broker, FakeClock, FakeLog, FakeStore
from worker.errors import PositionMoved
from worker.merge import Merge
from worker.partition import Partition, Phase
from worker.ports import LAYOUT, Ends, LogSlice, Output, Position, StoredInternal, StoredRun, StoreStatus
from worker.restore import TAIL_MAX_AGE_MS, restore_slices, starting_position, stored_records

ENDS = Ends(low_state=10, low_internal=20, high_state=100, high_internal=200)
LOG_ID = "life-1"
LIVING = StoreStatus(Position("g-1", 50, 60), restoring=False, wiped=True, log_id=LOG_ID, applied_at=NOW, policy=POLICY)


class Held(FakeStore):
    """A store with this status in partition 0, or none."""

    def __init__(self, status: StoreStatus | None) -> None:
        super().__init__()
        if status is not None:
            self.begin_at(0, status.position)
            self.copies[0].status = status


def start(status: StoreStatus | None, **options: Any) -> tuple[Position, str | None]:
    return starting_position(Held(status), 0, status, ENDS, LOG_ID, NOW, **options)


# What can be followed from


def test_a_recent_position_in_the_log_is_followed_from() -> None:
    assert start(LIVING) == (LIVING.position, None)


@pytest.mark.parametrize("position", [Position("g-1", 10, 20), Position("g-1", 100, 200), Position("g-1", 10, 200)])
def test_the_ends_of_the_log_are_in_the_log(position: Position) -> None:
    assert start(replace(LIVING, position=position)) == (position, None)


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (None, "the store has no position"),
        (replace(LIVING, layout=None), f"the store names no layout, and this version keeps layout {LAYOUT}"),
        (
            replace(LIVING, layout=LAYOUT - 1),
            f"the store has layout {LAYOUT - 1}, and this version keeps layout {LAYOUT}",
        ),
        (
            replace(LIVING, layout=LAYOUT + 1),
            f"the store has layout {LAYOUT + 1}, and this version keeps layout {LAYOUT}",
        ),
        (replace(LIVING, log_id="life-0"), "the store follows topics that were deleted or made anew"),
        (replace(LIVING, wiped=False), "a full restore was not finished with removing what was there"),
        (replace(LIVING, position=Position("g-1", 9, 60)), "position 9 is outside the state topic's 10 to 100"),
        (replace(LIVING, position=Position("g-1", 101, 60)), "position 101 is outside the state topic's 10 to 100"),
        (replace(LIVING, position=Position("g-1", 50, 19)), "position 19 is outside the internal topic's 20 to 200"),
        (replace(LIVING, position=Position("g-1", 50, 201)), "position 201 is outside the internal topic's 20 to 200"),
        (
            replace(LIVING, applied_at=NOW - TAIL_MAX_AGE_MS - 1),
            "the position is so old that the log may have forgotten deletions behind it",
        ),
    ],
)
def test_what_cannot_be_followed_from_is_restored_in_full(status: StoreStatus | None, reason: str) -> None:
    position, why = start(status)
    assert why == reason
    assert (position.state, position.internal) == (10, 20)
    assert position.generation != "g-1"


def test_a_store_that_contradicts_itself_is_not_followed_from() -> None:
    assert start(LIVING, distrusted=True)[1] == "the store contradicts itself"


def test_an_old_position_at_the_end_of_the_log_misses_nothing() -> None:
    at_the_end = replace(LIVING, position=Position("g-1", 100, 200), applied_at=0)
    assert start(at_the_end) == (at_the_end.position, None)


def test_just_half_of_what_tombstones_live_is_not_too_old() -> None:
    old = replace(LIVING, applied_at=NOW - TAIL_MAX_AGE_MS)
    assert start(old) == (old.position, None)


def test_a_full_restore_that_was_interrupted_goes_on_where_it_was() -> None:
    assert start(replace(LIVING, restoring=True)) == (LIVING.position, None)


def test_a_full_restore_removes_everything_first_and_says_that_it_is_under_way() -> None:
    store = Held(LIVING)
    store.copies[0].values[Key("run", "t-1", "rr-1")] = b"{}"
    position, _ = starting_position(store, 0, LIVING, ENDS, "life-2", NOW)
    copy = store.copies[0]
    assert copy.values == {}
    assert copy.status.restoring
    assert copy.status.position == position
    assert copy.status.log_id == "life-2"


def test_each_full_restore_is_a_generation_of_its_own() -> None:
    assert start(None)[0].generation != start(None)[0].generation


def test_what_an_older_policy_has_decided_is_followed_from() -> None:
    older = replace(LIVING, policy=POLICY - 1)
    assert start(older) == (older.position, None)


# Reading on


class Tail:
    """A log with outputs of partition 0, and a store that is to follow it."""

    def __init__(self, *outputs: Output) -> None:
        self.broker, self.store, self.clock = Broker(), FakeStore(), FakeClock()
        self.log = FakeLog(self.broker, self.clock)
        self.log.new_producer()
        self.publish(*outputs)
        self.store.begin_at(0, Position("g-1", 0, 0))
        self.partition = self.new_partition()

    def publish(self, *outputs: Output) -> None:
        if outputs:
            self.log.publish(outputs, {}, self.broker.generation)

    def new_partition(self) -> Partition:
        position = self.store.copies[0].status.position
        ends = self.log.ends([0])[0]
        return Partition(0, Merge(TOPICS.inputs), {}, 0, ends, position, phase=Phase.RESTORING, applied_at=NOW)

    def slice(self) -> int:
        return restore_slices(self.log, self.store, self.clock, [self.partition])[0]


FOLD = Fold(*restore_that_went_well())
RUN, OPERATION, SNAPSHOT = Key("run", "t-1", "rr-1"), Key("operation", "t-1", "op-1"), Key("snapshot", "t-1", "es-1")


def output(key: Key, value: bytes | None) -> Output:
    topic = TOPICS.decision_state if key.kind == "run" else TOPICS.internal
    return Output(topic, 0, str(key).encode(), value)


EVERYTHING = [output(key, value) for key, value in FOLD.stored().items()]


def test_the_store_gets_what_the_log_says() -> None:
    tail = Tail(*EVERYTHING)
    assert tail.slice() == 3
    assert tail.partition.is_restored
    copy = tail.store.copies[0]
    assert copy.values == FOLD.stored()
    assert copy.index == {RUN: ("completed_with_evidence", NOW)}
    assert not copy.status.restoring


def test_behind_the_last_marker_is_the_end() -> None:
    tail = Tail(*EVERYTHING)
    tail.slice()
    assert tail.store.copies[0].status.position == Position("g-1", 2, 3)


def test_a_tombstone_removes() -> None:
    tail = Tail(*EVERYTHING)
    tail.slice()
    tail.publish(output(RUN, None), output(OPERATION, None))
    tail.partition = tail.new_partition()
    assert tail.slice() == 2
    assert set(tail.store.copies[0].values) == {SNAPSHOT}
    assert tail.store.copies[0].index == {}


def test_what_is_left_of_a_restore_is_as_old_as_it_was_before() -> None:
    """Looking young after each slice, one that is interrupted again and again would outlive the log's tombstones."""
    tail = Tail(*EVERYTHING)
    tail.log.fetch = 1
    tail.clock.pass_s(3600)
    tail.slice()
    assert not tail.partition.is_restored
    assert tail.store.copies[0].status.applied_at == NOW
    for _ in range(3):
        tail.slice()
    assert tail.store.copies[0].status.applied_at >= NOW + 3_600_000


def test_a_log_that_is_long_is_read_slice_by_slice_and_the_status_says_so_meanwhile() -> None:
    tail = Tail(
        *(output(Key("deleted-run", "t-1", f"rr-{n}"), encode_internal(DeletedRun(1, n, 0, 0))) for n in range(5))
    )
    tail.log.fetch = 2
    found = []
    while not tail.partition.is_restored:
        found.append(tail.slice())
        assert tail.store.copies[0].status.restoring is not tail.partition.is_restored
    assert found == [2, 2, 1]
    assert len(tail.store.copies[0].values) == 5


def test_a_store_that_is_up_to_date_is_told_that_it_is_ready() -> None:
    """With the policy that decides from now on."""
    tail = Tail(*EVERYTHING)
    tail.slice()
    status = tail.store.copies[0].status
    tail.store.copies[0].status = replace(status, restoring=True, policy=POLICY - 1)
    tail.partition = tail.new_partition()
    tail.log.calls.clear()
    assert tail.slice() == 0
    assert tail.log.calls == []
    assert not tail.store.copies[0].status.restoring
    assert tail.store.copies[0].status.policy == POLICY


def test_an_open_transaction_is_waited_for_and_nothing_is_written_meanwhile() -> None:
    tail = Tail()
    tail.log.begin(EVERYTHING)
    tail.partition = tail.new_partition()
    tail.store.calls.clear()
    assert [tail.slice(), tail.slice()] == [0, 0]
    assert tail.store.calls == []
    assert not tail.partition.is_restored


def test_what_was_aborted_is_passed() -> None:
    tail = Tail()
    transaction, _ = tail.log.begin(EVERYTHING)
    tail.broker.end(transaction, "aborted")
    tail.partition = tail.new_partition()
    assert tail.slice() == 0
    assert tail.partition.is_restored
    assert tail.store.copies[0].values == {}


def test_several_partitions_are_read_at_once() -> None:
    tail = Tail(*EVERYTHING)
    tail.publish(output(SNAPSHOT, FOLD.stored()[SNAPSHOT])._replace(partition=1))
    tail.store.begin_at(1, Position("g-2", 0, 0))
    other = Partition(1, Merge(TOPICS.inputs), {}, 0, tail.log.ends([1])[1], Position("g-2", 0, 0), applied_at=NOW)
    tail.log.calls.clear()
    assert restore_slices(tail.log, tail.store, tail.clock, [tail.partition, other]) == {0: 3, 1: 1}
    assert tail.log.calls == ["read"]
    assert set(tail.store.copies[1].values) == {SNAPSHOT}


def test_whoever_finds_the_store_elsewhere_writes_nothing() -> None:
    tail = Tail(*EVERYTHING)
    tail.store.begin_at(0, Position("g-9", 0, 0))
    with pytest.raises(PositionMoved):
        tail.slice()
    assert tail.store.copies[0].values == {}


# Records of the log


def records(*outputs: Output) -> LogSlice:
    read = [Record(o.topic, 0, n, NOW, o.key, o.value) for n, o in enumerate(outputs)]
    state = [r for r in read if r.topic == TOPICS.decision_state]
    return LogSlice(state, [r for r in read if r.topic != TOPICS.decision_state], 0, 0)


@pytest.mark.parametrize(
    ("fold", "state", "unfinished"),
    [
        (FOLD, "completed_with_evidence", False),
        (Fold(run(status="running")), "in_progress", True),
        (Fold(run(status="draft")), "not_executed", True),
        (Fold(run(status="draft", is_dry_run=True)), "not_executed", False),
    ],
    ids=["proven", "running", "draft", "dry run"],
)
def test_a_document_is_stored_with_what_the_indexes_need(fold: Fold, state: str, unfinished: bool) -> None:
    value = fold.stored()[RUN]
    (write,) = stored_records(records(output(RUN, value)))
    assert write == StoredRun(RUN, value, state, NOW, unfinished)


@pytest.mark.parametrize(
    ("key", "record", "due"),
    [
        (Key("deleted-run", "t-1", "x"), DeletedRun(5, 2, 7, 8), None),
        (Key("operation", "t-1", "x"), OperationRecord(due=77), 77),
        (Key("snapshot", "t-1", "x"), SnapshotRecord(5, "op-1", kept=True, due=78), 78),
    ],
)
def test_an_internal_record_is_stored_with_its_deadline(key: Key, record: Any, due: int | None) -> None:
    value = encode_internal(record)
    assert list(stored_records(records(output(key, value)))) == [StoredInternal(key, value, due)]
    assert list(stored_records(records(output(key, None)))) == [StoredInternal(key, None)]


@pytest.mark.parametrize("key", [b"t-1", b"a/b/c/d", b"nonsense/t-1/x", b"operation/t-1/", b"\xff/a/b"])
def test_a_key_that_is_none_of_ours_is_no_record(key: bytes) -> None:
    record = Record(TOPICS.internal, 0, 0, NOW, key, encode({"due": None}))
    with pytest.raises(ValueError, match=r"expected|codec"):
        list(stored_records(LogSlice([], [record], 0, 0)))


# What an operator orders


def test_what_was_ordered_is_restored_in_full_and_the_log_tells_who_ordered_it() -> None:
    held = replace(LIVING, wiped=False, ordered="ann@host: a lost\nkey")

    assert start(held)[1] == "ann@host: a lost\N{REPLACEMENT CHARACTER}key ordered it"
