"""A log, a store and a clock in memory, behaving as `worker.ports` and the real ones do where the loop can tell.

The broker has what makes Kafka hard to read: transaction markers take offsets, read_committed readers stop at the first
open transaction, an end read uncommitted lies behind it, a new producer fences the old one and ends its transaction,
offsets are committed only by a present member. The store refuses whoever is not at its position. Time moves only
when a test moves it, or while something waits in vain.

What goes wrong goes wrong on order: `fail("publish", error)` makes the next call of that method raise, and
`lose_answer("publish", error)` makes it raise after it has done its work.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, Literal

from contracts.events import Record
from contracts.topics import Topics
from projections import rules
from projections.record import Key
from worker.batch import Batch
from worker.errors import (
    DecidedByNewer,
    OffsetOutOfRange,
    PartitionStopped,
    PositionMoved,
    RecordTooLarge,
    StoreDamaged,
)
from worker.partition import Partition
from worker.ports import (
    Committed,
    Ends,
    LogSlice,
    Membership,
    Output,
    Position,
    Stored,
    StoredRun,
    StoreStatus,
    TopicPartition,
)
from worker.recompute import Recompute

TOPICS = Topics()
NOW = 1_793_527_200_000
"""2026-11-01T10:00:00Z: where the clock starts."""


class FakeClock:
    """Wall and monotonic time, which pass together."""

    def __init__(self, now_ms: int = NOW) -> None:
        self._now_ms = now_ms
        self._elapsed = 1000.0

    def now_ms(self) -> int:
        return self._now_ms + round((self._elapsed - 1000) * 1000)

    def monotonic(self) -> float:
        return self._elapsed

    def pass_s(self, seconds: float) -> None:
        self._elapsed += seconds


class Faults:
    """Errors that were ordered, by the name of the method that is to raise them, and what was called."""

    def __init__(self) -> None:
        self._before: dict[str, list[Exception]] = defaultdict(list)
        self._after: dict[str, list[Exception]] = defaultdict(list)
        self.calls: list[str] = []

    def fail(self, method: str, error: Exception) -> None:
        """The next call of this method does nothing and raises."""
        self._before[method].append(error)

    def lose_answer(self, method: str, error: Exception) -> None:
        """The next call of this method does its work and raises."""
        self._after[method].append(error)

    def _enter(self, method: str) -> None:
        self.calls.append(method)
        if self._before[method]:
            raise self._before[method].pop(0)

    def _leave(self, method: str) -> None:
        if self._after[method]:
            raise self._after[method].pop(0)


# Kafka


@dataclass(slots=True)
class _Entry:
    """What lies at one offset: a record or, if None, a marker. `transaction` is None for what is not in one."""

    record: Record | None
    transaction: object = None
    status: Literal["open", "committed", "aborted"] = "committed"


class Superseded(Exception):
    """A producer with a newer epoch, or a member of a newer generation, has taken this one's place."""


@dataclass(slots=True)
class Broker:
    """Topics, one consumer group, transactional producers. `record_bytes`: what the topics take, by topic."""

    topics: Topics = TOPICS
    log_id: str = "life-1"
    record_bytes: dict[str, int] = field(default_factory=dict)
    logs: dict[TopicPartition, list[_Entry]] = field(default_factory=lambda: defaultdict(list))
    low: dict[TopicPartition, int] = field(default_factory=lambda: defaultdict(int))
    committed: dict[TopicPartition, Committed] = field(default_factory=dict)
    epochs: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    generation: int = 1

    # What producers of the inputs do

    def append(self, record: Record, *, transaction: object = None) -> Record:
        """Write a record at the end of its partition; with `transaction` it stays open until `end` is called."""
        entries = self.logs[record.topic, record.partition]
        placed = Record(
            record.topic, record.partition, len(entries), record.timestamp, record.key, record.value, record.headers
        )
        entries.append(_Entry(placed, transaction, "committed" if transaction is None else "open"))
        return placed

    def end(self, transaction: object, status: Literal["committed", "aborted"]) -> None:
        """End a transaction: a marker behind each partition that it wrote to."""
        for entries in self.logs.values():
            mine = [e for e in entries if e.status == "open" and e.transaction == transaction]
            for entry in mine:
                entry.status = status
            if mine:
                entries.append(_Entry(None))

    # What readers see

    def end_offset(self, tp: TopicPartition, *, committed: bool) -> int:
        entries = self.logs[tp]
        opened = next((at for at, e in enumerate(entries) if e.status == "open"), len(entries))
        return opened if committed else len(entries)

    def read(self, tp: TopicPartition, offset: int, limit: int) -> tuple[list[Record], int]:
        """Committed records from an offset on, and where reading goes on."""
        found: list[Record] = []
        for entry in self.logs[tp][offset : self.end_offset(tp, committed=True)]:
            if len(found) == limit:
                break
            offset += 1
            if entry.record is not None and entry.status == "committed":
                found.append(entry.record)
        return found, offset

    def records(self, topic: str) -> list[Record]:
        """All committed records of a topic."""
        numbers = sorted(number for name, number in self.logs if name == topic)
        return [record for number in numbers for record in self.read((topic, number), 0, 2**40)[0]]

    def latest(self, topic: str) -> dict[str, bytes]:
        """What compaction would leave of a topic: each key's last value, tombstones left out."""
        last = {(record.key or b"").decode(): record.value for record in self.records(topic)}
        return {key: value for key, value in last.items() if value is not None}

    def compact(self, topic: str) -> None:
        """Remove what a later record of the same key has replaced; offsets stay."""
        for (name, _), entries in self.logs.items():
            if name == topic:
                newest = {entry.record.key: entry for entry in entries if entry.record is not None}
                for entry in entries:
                    if entry.record is not None and newest[entry.record.key] is not entry:
                        entry.record = None


class FakeLog(Faults):
    """`worker.ports.Log`: one member of the group with one producer.

    `partitions` are assigned; `rebalance` changes that, `evict` takes the place in the group away for good. `fetch` is
    how many records of each input partition a poll returns at most.
    """

    def __init__(self, broker: Broker, clock: FakeClock, partitions: Iterable[int] = (0,), name: str = "w") -> None:
        super().__init__()
        self._broker = broker
        self._clock = clock
        self._name = name
        self._epoch = 0
        self._member: Membership | None = None
        self._positions: dict[TopicPartition, int] = {}
        self.paused: set[TopicPartition] = set()
        self.fetch = 1000
        self.held: set[str] = set()
        """Topics of which a poll returns nothing, although they hold records: a fetch that takes its time."""
        self.polled_ms: list[int] = []
        self.transactions = 0
        self.rebalance(partitions)

    # The group

    def rebalance(self, partitions: Iterable[int]) -> None:
        """A new generation of the group, in which this member has these partitions, paused as the real ones are."""
        self._broker.generation += 1
        generation = self._broker.generation
        numbers = frozenset(partitions)
        self._member = Membership(generation, self._name, numbers, token=generation)
        assigned = {(topic, number) for topic in self._broker.topics.inputs for number in numbers}
        fresh = assigned - set(self._positions)
        self._positions = {tp: self._positions.get(tp, 0) for tp in assigned}
        self.paused = (self.paused & assigned) | fresh

    def evict(self) -> None:
        """The group is not stable, as this member sees it; others may have its partitions."""
        self._broker.generation += 1
        self._member = None

    def membership(self) -> Membership | None:
        self._enter("membership")
        return self._member

    def poll(self, timeout_ms: int) -> list[Record]:
        self._enter("poll")
        self.polled_ms.append(timeout_ms)
        polled: list[Record] = []
        for tp in sorted(self._positions):
            if tp in self.paused or tp[0] in self.held:
                continue
            records, self._positions[tp] = self._broker.read(tp, self._positions[tp], self.fetch)
            polled += records
        if not polled:
            self._clock.pass_s(timeout_ms / 1000)
        return polled

    def committed(self, partitions: Iterable[int]) -> Mapping[TopicPartition, Committed]:
        self._enter("committed")
        found = {}
        for number in partitions:
            for topic in self._broker.topics.inputs:
                tp = (topic, number)
                low, high = self._broker.low[tp], self._broker.end_offset(tp, committed=False)
                found[tp] = committed = self._broker.committed.get(tp, Committed(low, 0, by="nobody"))
                if not low <= committed.offset <= high:
                    raise OffsetOutOfRange(topic, number, committed.offset, low, high)
        return found

    def resume_at(self, offsets: Mapping[TopicPartition, int]) -> None:
        self._enter("resume_at")
        self._positions.update(offsets)
        self.paused -= set(offsets)

    def pause(self, inputs: Iterable[TopicPartition]) -> None:
        self._enter("pause")
        self.paused |= {tp for tp in inputs if tp in self._positions}

    def resume(self, inputs: Iterable[TopicPartition]) -> None:
        self._enter("resume")
        self.paused -= set(inputs)

    def next_offset(self, input: TopicPartition) -> int:
        return self._positions[input]

    def input_ends(self, inputs: Sequence[TopicPartition]) -> Mapping[TopicPartition, int]:
        self._enter("input_ends")
        return {tp: self._broker.end_offset(tp, committed=False) for tp in inputs}

    # The compacted topics

    def log_id(self) -> str:
        self._enter("log_id")
        return self._broker.log_id

    def ends(self, partitions: Sequence[int]) -> Mapping[int, Ends]:
        self._enter("ends")
        return {number: self._ends(number) for number in partitions}

    def _ends(self, number: int) -> Ends:
        state, internal = (self._broker.topics.decision_state, number), (self._broker.topics.internal, number)
        high_state = self._broker.end_offset(state, committed=False)
        high_internal = self._broker.end_offset(internal, committed=False)
        return Ends(self._broker.low[state], self._broker.low[internal], high_state, high_internal)

    def read(self, positions: Mapping[int, Position]) -> Mapping[int, LogSlice]:
        self._enter("read")
        slices = {}
        moved = False
        for number, position in positions.items():
            state = (self._broker.topics.decision_state, number)
            internal = (self._broker.topics.internal, number)
            state_records, next_state = self._broker.read(state, position.state, self.fetch)
            internal_records, next_internal = self._broker.read(internal, position.internal, self.fetch)
            slices[number] = LogSlice(state_records, internal_records, next_state, next_internal)
            moved |= (next_state, next_internal) != (position.state, position.internal)
        if not moved:
            self._clock.pass_s(0.02)
        return slices

    # The producer

    def new_producer(self) -> None:
        self._enter("new_producer")
        self._broker.end((self._name, self._broker.epochs[self._name]), "aborted")
        self._broker.epochs[self._name] += 1
        self._epoch = self._broker.epochs[self._name]

    def begin(self, outputs: Sequence[Output]) -> tuple[object, list[int]]:
        """The first half of `publish`: outputs under an open transaction. A worker that dies now leaves it open."""
        if self._epoch != self._broker.epochs[self._name]:
            raise Superseded("the producer's epoch")
        transaction = (self._name, self._epoch)
        written = []
        for output in outputs:
            limit = self._broker.record_bytes.get(output.topic)
            if limit is not None and len(output.value or b"") > limit:
                self._broker.end(transaction, "aborted")
                raise RecordTooLarge(output.topic, size_bytes=len(output.value or b""), limit_bytes=limit)
            now, headers = self._clock.now_ms(), tuple(output.headers)
            record = Record(output.topic, output.partition, -1, now, output.key, output.value, headers)
            written.append(self._broker.append(record, transaction=transaction).offset)
        return transaction, written

    def publish(
        self, outputs: Sequence[Output], offsets: Mapping[TopicPartition, Committed], token: Any
    ) -> Sequence[int]:
        self._enter("publish")
        transaction, written = self.begin(outputs)
        if token != self._broker.generation:
            self._broker.end(transaction, "aborted")
            raise Superseded("the member's generation")
        self._broker.committed.update(offsets)
        self._broker.end(transaction, "committed")
        self.transactions += 1
        self._leave("publish")
        return written


# Redis


@dataclass(slots=True)
class Copy:
    """One partition's copy in the store."""

    status: StoreStatus
    values: dict[Key, bytes] = field(default_factory=dict)
    dues: dict[Key, int] = field(default_factory=dict)
    index: dict[Key, tuple[str, int]] = field(default_factory=dict)
    unfinished: dict[Key, tuple[str, int]] = field(default_factory=dict)
    records: set[Key] = field(default_factory=set)
    sizes: tuple[int, int] = (0, 0)
    """How many deadlines and records there were left."""


class FakeStore(Faults):
    """`worker.ports.Store`. `copies` may be looked at, damaged, removed, or kept and put back, as Redis may."""

    def __init__(self) -> None:
        super().__init__()
        self.copies: dict[int, Copy] = {}

    def begin_at(self, partition: int, position: Position) -> None:
        """An empty copy at a position, as after a restore of an empty log."""
        status = StoreStatus(
            position, restoring=False, wiped=True, log_id="life-1", applied_at=NOW, policy=rules.POLICY
        )
        self.copies[partition] = Copy(status)

    def kept(self) -> dict[int, Copy]:
        """The store as it is, to be put back later."""
        return deepcopy(self.copies)

    def status(self, partition: int) -> StoreStatus | None:
        self._enter("status")
        copy = self.copies.get(partition)
        return None if copy is None else copy.status

    def read(self, partition: int, position: Position, keys: Sequence[Key]) -> list[bytes | None]:
        self._enter("read")
        copy = self._at(partition, position)
        for key in keys:
            if key in copy.records and key not in copy.values:
                raise StoreDamaged(partition, f"{key} was stored and is not there")
        return [copy.values.get(key) for key in keys]

    def due(self, partition: int, position: Position, until: int, limit: int) -> list[tuple[int, Key]]:
        self._enter("due")
        dues = self._at(partition, position).dues
        found = sorted((due, str(key), key) for key, due in dues.items() if due <= until)
        return [(due, key) for due, _, key in found[:limit]]

    def next_due(self, partition: int, position: Position) -> int | None:
        self._enter("next_due")
        return min(self._at(partition, position).dues.values(), default=None)

    def apply(
        self,
        partition: int,
        before: Position,
        after: Position,
        writes: Iterable[Stored],
        *,
        restoring: bool,
        applied_at: int,
        policy: int | None = None,
        offsets: Mapping[str, int] | None = None,
    ) -> None:
        self._enter("apply")
        copy = self._at(partition, before)
        for write in writes:
            _write(copy, write)
        copy.sizes = (len(copy.dues), len(copy.records))
        was = copy.status
        copy.status = StoreStatus(
            after,
            restoring=restoring,
            wiped=was.wiped,
            log_id=was.log_id,
            applied_at=applied_at,
            policy=was.policy if policy is None else policy,
            layout=was.layout,
            offsets=was.offsets if offsets is None else dict(offsets),
        )
        self._leave("apply")

    def wipe(
        self, partition: int, before: StoreStatus | None, start: Position, log_id: str, *, applied_at: int
    ) -> None:
        self._enter("wipe")
        copy = self.copies.get(partition)
        found = None if copy is None else copy.status.position.generation
        expected = None if before is None else before.position.generation
        if found != expected:
            raise PositionMoved(partition, str(expected), found)
        status = StoreStatus(
            start, restoring=True, wiped=True, log_id=log_id, applied_at=applied_at, policy=rules.POLICY
        )
        self.copies[partition] = Copy(status)
        self._leave("wipe")

    def _at(self, partition: int, position: Position) -> Copy:
        copy = self.copies.get(partition)
        if copy is None or copy.status.position != position:
            raise PositionMoved(partition, str(position), None if copy is None else str(copy.status.position))
        if copy.sizes != (len(copy.dues), len(copy.records)):
            raise StoreDamaged(partition, "an index was stored and is not there")
        return copy


def _write(copy: Copy, write: Stored) -> None:
    if write.value is None:
        for kept in (copy.values, copy.dues, copy.index, copy.unfinished):
            kept.pop(write.key, None)
        copy.records.discard(write.key)
        return
    copy.values[write.key] = write.value
    copy.records.add(write.key)
    if isinstance(write, StoredRun):
        assert write.state is not None and write.changed_at is not None
        copy.index[write.key] = (write.state, write.changed_at)
        copy.unfinished.pop(write.key, None)
        if write.unfinished:
            copy.unfinished[write.key] = (write.state, write.changed_at)
    elif write.due is None:
        copy.dues.pop(write.key, None)
    else:
        copy.dues[write.key] = write.due


# Whoever wants to know


class Notes:
    """An `Observer` that writes down what it is told, as tuples that begin with the name of what happened."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.batches: list[Batch] = []

    def of(self, what: str) -> list[tuple[Any, ...]]:
        """What was told under a name, without the name."""
        return [note[1:] for note in self.told if note[0] == what]

    def turned(self, partitions: Sequence[Partition]) -> None:
        pass

    def lost(self) -> None:
        self.told.append(("lost",))

    def taken_over(self, generation: int, partitions: Sequence[Partition]) -> None:
        self.told.append(("taken_over", [p.number for p in partitions]))

    def restoring(self, partition: Partition, reason: str | None) -> None:
        self.told.append(("restoring", partition.number, reason))

    def restored_slice(self, partition: int, records: int) -> None:
        self.told.append(("restored_slice", partition, records))

    def running(self, partition: Partition) -> None:
        self.told.append(("running", partition.number))

    def stopped(self, error: PartitionStopped) -> None:
        why = error.what if isinstance(error, DecidedByNewer) else error.kind
        self.told.append(("stopped", why, error.partition))

    def recomputing(self, partition: Partition) -> None:
        self.told.append(("recomputing", partition.number))

    def passed_over(self, run: Key) -> None:
        self.told.append(("passed_over", run.id))

    def recomputed(self, partition: Partition, work: Recompute) -> None:
        self.told.append(("recomputed", partition.number, work.looked, work.published))

    def published(self, batches: Sequence[Batch], seconds: float) -> None:
        self.batches += batches
        self.told.append(("published", [len(b.taken) for b in batches]))

    def stored(self, seconds: float) -> None:
        pass

    def failed_transaction(self) -> None:
        self.told.append(("failed_transaction",))

    def recovering(self, error: Exception, delay_s: float) -> None:
        self.told.append(("recovering", type(error), str(error)))

    def waiting_for_input(self) -> None:
        self.told.append(("waiting_for_input",))

    def waited_in_vain(self, partition: int, topics: Sequence[str], waited_s: float) -> None:
        self.told.append(("waited_in_vain", partition, list(topics)))


def until(condition: Callable[[], object], turn: Callable[[], object], limit: int = 500) -> None:
    """Turn until the condition holds; fails after `limit` turns."""
    for _ in range(limit):
        if condition():
            return
        turn()
    raise AssertionError(f"it did not hold within {limit} turns")
