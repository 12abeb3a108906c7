"""Bugs planted one at a time, each of which must be found: what a simulation finds is what it is worth.

A bug is in the product while a history runs, put there by replacing an attribute, or in a client of the models that
does wrongly what the real adapter does rightly (`worker.kafka`, `worker.redis` and its scripts are not run here). It is
gone when the history is judged.
"""
# ruff: noqa: ARG001, ARG005  what stands in the place of a function takes what that takes

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import pytest

import worker.batch
import worker.loop
import worker.merge
import worker.restore
import worker.suspects
from contracts.events import Record
from projections import advance, deciding, forgetting, marks, runs
from projections.advance import Effects
from projections.record import Key, OperationRecord, RunRecord
from projections.workspace import Workspace
from tests.simulation.broker import Refused
from tests.simulation.inputs import TOPICS
from tests.simulation.log import Future, Metadata, SimulatedLog, by_place, checked
from tests.simulation.store import Copy, Redis, SimulatedStore
from tests.simulation.world import Recipe, Result, World
from worker.batch import Batch, Batcher
from worker.errors import KafkaUnreachable, RedisUnreachable
from worker.loop import Worker
from worker.partition import Partition, Phase
from worker.ports import Committed, Ends, LogSlice, Output, Position, Stored, TopicPartition

WITHIN: Final = 500
"""Histories in which each must be found."""

Plant: TypeAlias = Callable[[pytest.MonkeyPatch], None]


def _nothing(patch: pytest.MonkeyPatch) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Bug:
    """One row. `found_at`: the first seed, from 0 on, whose history finds it.

    `plant` puts it into the product; the others are clients and servers that have it, and the kind of history.
    """

    name: str
    found_at: int
    plant: Plant = _nothing
    log: type[SimulatedLog] = SimulatedLog
    store: type[SimulatedStore] = SimulatedStore
    redis: type[Redis] = Redis
    world: type[World] = World


def run_with(bug: Bug, recipe: Recipe) -> Result:
    """A history with the bug, judged without it."""
    world = bug.world(recipe, bug.log, bug.store, bug.redis)
    with pytest.MonkeyPatch.context() as patch:
        bug.plant(patch)
        world.run()
    found = [*world.violations, *world.violations_at_rest()]
    struck = tuple(world.struck)
    return Result(recipe, tuple(found), struck, world.counters, world.checksum, world.loose, tuple(world.trace))


def found_after(bug: Bug, first: int = 0) -> tuple[int, str] | None:
    """In how many histories it is found, and the first violation; None if in none of WITHIN."""
    for n in range(WITHIN):
        result = run_with(bug, Recipe(first + n))
        if result.violations:
            return n + 1, result.violations[0]
    return None


# In what `worker.kafka` does


class _RestoresToTheLastStableOffset(SimulatedLog):
    def _ends(self, number: int) -> Ends:
        state, internal = (self._broker.logs[place] for place in self._compacted(number))
        return Ends(0, 0, state.stable_end, internal.stable_end)


class _AsksForTheEndsFirst(SimulatedLog):
    """Before the store's status: by the time that this is read it may be ahead of them."""

    _first: Mapping[int, Ends] = {}

    def new_producer(self) -> None:
        super().new_producer()
        self._first = super().ends(sorted(self._assigned))

    def ends(self, partitions: Sequence[int]) -> Mapping[int, Ends]:
        first, self._first = self._first, {}
        return first or super().ends(partitions)


class _RefreshesItsMetadata(SimulatedLog):
    def send_offsets(self, offsets: Mapping[TopicPartition, Committed], token: Metadata) -> None:
        self._hear()
        super().send_offsets(offsets, self.metadata)


class _SendsOffsetsOnlyIfThereAreAny(SimulatedLog):
    def send_offsets(self, offsets: Mapping[TopicPartition, Committed], token: Metadata) -> None:
        if offsets:
            super().send_offsets(offsets, token)


class _CommitsBeforeItFlushes(SimulatedLog):
    def publish(
        self, outputs: Sequence[Output], offsets: Mapping[TopicPartition, Committed], token: Any
    ) -> Sequence[int]:
        self.begin()
        futures = self.send(outputs)
        self.send_offsets(offsets, token)
        self.commit()
        return checked(outputs, futures)


class _ChecksNoFuture(SimulatedLog):
    def send(self, outputs: Sequence[Output]) -> dict[TopicPartition, Future]:
        futures = super().send(outputs)
        return {
            place: self._taken_for_written(place, some, futures[place]) for place, some in by_place(outputs).items()
        }

    def _taken_for_written(self, place: TopicPartition, outputs: Sequence[Output], future: Future) -> Future:
        if isinstance(future, Exception) and self._is_passed_over(future):
            end = self._broker.logs[place].end
            return [end + n for n in range(len(outputs))]
        return future

    def _is_passed_over(self, error: Exception) -> bool:
        return not (isinstance(error, Refused) and error.why == "MessageSizeTooLargeError")


class _PassesOverTimeouts(_ChecksNoFuture):
    def _is_passed_over(self, error: Exception) -> bool:
        return isinstance(error, KafkaUnreachable)


class _KeepsItsProducer(SimulatedLog):
    def new_producer(self) -> None:
        if self._epoch is None:
            super().new_producer()


class _AsksForOffsetsThatAreNotStable(SimulatedLog):
    def _stable_offsets(self, places: Sequence[TopicPartition]) -> dict[TopicPartition, Committed] | None:
        return self._broker.offsets(places)


class _ForgetsStreamTime(SimulatedLog):
    def committed(self, partitions: Iterable[int]) -> Mapping[TopicPartition, Committed]:
        return {place: Committed(found.offset, 0) for place, found in super().committed(partitions).items()}


class _WritesOutsideTheTransaction(SimulatedLog):
    topic = TOPICS.dead_letters

    def produce(self, outputs: Sequence[Output]) -> Future:
        if outputs[0].topic != self.topic:
            return super().produce(outputs)
        return [
            self._broker.append(
                Record(o.topic, o.partition, -1, self._around.time.now, o.key, o.value, tuple(o.headers))
            ).offset
            for o in outputs
        ]


class _ReadsUncommitted(SimulatedLog):
    """The restoring reader has the wrong isolation level."""

    def _read(self, number: int, at: Position) -> LogSlice:
        state, internal = (self._broker.logs[place] for place in self._compacted(number))
        found = [
            [e.record for e in log.entries[first:] if e.record is not None and not e.removed]
            for log, first in ((state, at.state), (internal, at.internal))
        ]
        return LogSlice(found[0], found[1], state.end, internal.end)


# In what `worker.redis` and its scripts do


class _ReadsUnguarded(SimulatedStore):
    def read(self, partition: int, position: Position, keys: Sequence[Key]) -> list[bytes | None]:
        values = self._redis.copies[partition].values
        return self._call("store_read", lambda: [values.get(key) for key in keys])


class _MissesNoKey(SimulatedStore):
    def read(self, partition: int, position: Position, keys: Sequence[Key]) -> list[bytes | None]:
        return self._call("store_read", lambda: [self._redis.at(partition, position).values.get(key) for key in keys])


class _MissesNoIndex(Redis):
    def at(self, partition: int, position: Position) -> Copy:
        copy = self.copies[partition]
        copy.sizes = (len(copy.dues), len(copy.records))
        return super().at(partition, position)


class _AppliesUnguarded(Redis):
    def apply(self, partition: int, before: Position, after: Position, writes: Sequence[Stored], **rest: Any) -> None:
        status = self.copies[partition].status
        here = before if status is None else status.position
        self._here = here
        super().apply(partition, here, after, writes, **rest)


class _SweepsUnguarded(Redis):
    def may_sweep(self, copy: Copy, generation: str, sweeps: int) -> bool:
        return True


class _WipesWhateverIsThere(Redis):
    """A position that was not there when it was looked for is removed, whatever it is now."""

    def may_wipe(self, expected: str, found: str) -> bool:
        return not expected or super().may_wipe(expected, found)


class _IsReadyAtOnce(SimulatedStore):
    def apply(self, partition: int, before: Position, after: Position, writes: Iterable[Stored], **rest: Any) -> None:
        super().apply(partition, before, after, writes, **{**rest, "restoring": False})


class _ForgetsDeadlines(Redis):
    """A record without a deadline leaves the one that it had before in the index."""

    def at(self, partition: int, position: Position) -> Copy:
        copy = super().at(partition, position)
        copy.dues = _Sticky(copy.dues)
        return copy


class _Sticky(dict[Key, int]):
    def pop(self, key: Key, default: Any = None) -> Any:
        return default


# In the loop


def _replacing(place: object, name: str, value: object) -> Plant:
    return lambda patch: patch.setattr(place, name, value)


def _deadlines_without_offsets(patch: pytest.MonkeyPatch) -> None:
    rightly = Worker._offsets_after
    patch.setattr(Worker, "_offsets_after", lambda worker, batch: rightly(worker, batch) if batch.taken else {})


def _store_first(patch: pytest.MonkeyPatch) -> None:
    def publish(worker: Worker, batches: list[Batch]) -> None:
        log = worker._log
        assert isinstance(log, SimulatedLog) and worker._membership is not None
        if not batches:
            return
        worker._in_hand = batches
        outputs = [output for batch in batches for output in batch.outputs]
        offsets = {k: v for batch in batches for k, v in worker._offsets_after(batch).items()}
        log.begin()
        written = checked(outputs, log.send(outputs))
        at = 0
        for batch in batches:
            worker._store_batch(batch, written[at : at + len(batch.outputs)])
            at += len(batch.outputs)
            worker._suspects.went_through(batch)
        log.send_offsets(offsets, worker._membership.token)
        log.commit()
        for (topic, number), committed in offsets.items():
            worker._partitions[number].offsets[topic] = committed.offset

    patch.setattr(Worker, "_publish", publish)


def _goes_on_after_an_abort(patch: pytest.MonkeyPatch) -> None:
    """What was taken from the buffers for the transaction that failed is gone; what is still in them is next."""
    rightly = Worker._recover

    def recover(worker: Worker, error: Exception) -> None:
        running = worker._membership is not None and all(p.phase is Phase.RUNNING for p in worker.partitions)
        if running and isinstance(error, KafkaUnreachable) and "produce" in str(error):
            with suppress(Exception):
                worker._log.new_producer()
                return
        rightly(worker, error)

    patch.setattr(Worker, "_recover", recover)


def _passes_over_a_store_that_is_away(patch: pytest.MonkeyPatch) -> None:
    """What could not be written is not: the next batch is written from where the store was before."""
    rightly = Worker._store_batch

    def store(worker: Worker, batch: Batch, written: Sequence[int]) -> None:
        with suppress(RedisUnreachable):
            rightly(worker, batch, written)
        batch.partition.stream_time = batch.stream_time

    patch.setattr(Worker, "_store_batch", store)


def _idle_without_looking(patch: pytest.MonkeyPatch) -> None:
    """A partition is idle when nothing is buffered, whatever the inputs hold."""
    rightly = Worker._deadline_batches

    def deadline_batches(worker: Worker, partitions: Sequence[Partition]) -> list[Batch]:
        with pytest.MonkeyPatch.context() as meanwhile:
            ended = {p.number: list(TOPICS.inputs) for p in partitions}
            meanwhile.setattr(worker, "_ended", lambda _: ended)
            return rightly(worker, partitions)

    patch.setattr(Worker, "_deadline_batches", deadline_batches)
    patch.setattr(worker.loop, "IDLE_DELAY_MS", 0)


def _merges_what_is_there(patch: pytest.MonkeyPatch) -> None:
    def may_go_on(worker: Worker, partition: Partition, ended: list[str]) -> bool:
        ended.extend(topic for topic in partition.merge.empty() if topic not in ended)
        return True

    patch.setattr(Worker, "_may_go_on", may_go_on)


def _commits_what_is_only_buffered(patch: pytest.MonkeyPatch) -> None:
    def offsets_after(worker: Worker, batch: Batch) -> dict[TopicPartition, Committed]:
        number = batch.partition.number
        places = [(topic, number) for topic in TOPICS.inputs]
        return {place: Committed(worker._log.next_offset(place), batch.stream_time) for place in places}

    patch.setattr(Worker, "_offsets_after", offsets_after)


def _keeps_buffers(patch: pytest.MonkeyPatch) -> None:
    """A take-over of the same partition goes on with what was buffered before."""
    rightly = Worker._take_over
    kept: dict[tuple[int, int], Partition] = {}

    def take_over(worker: Worker, membership: Any) -> None:
        rightly(worker, membership)
        for number, partition in worker._partitions.items():
            before = kept.get((id(worker), number))
            if before is not None:
                partition.merge = before.merge
            kept[id(worker), number] = partition

    patch.setattr(Worker, "_take_over", take_over)


def _forgets_deadlines_at_start(patch: pytest.MonkeyPatch) -> None:
    rightly = Worker._look_at_store

    def look(worker: Worker, partition: Partition) -> None:
        rightly(worker, partition)
        partition.next_due = None

    patch.setattr(Worker, "_look_at_store", look)


def _gives_nothing_back(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(worker.merge.Merge, "give_back", lambda merge, records: None)


def _blames_all(patch: pytest.MonkeyPatch) -> None:
    def refused(suspects: Any, batches: Sequence[Batch]) -> list[Key]:
        for batch in batches:
            suspects._culprits |= {(r.topic, r.partition, r.offset) for r in batch.taken}
        return []

    patch.setattr(worker.suspects.Suspects, "refused", refused)


def _forgets_internal_positions(patch: pytest.MonkeyPatch) -> None:
    rightly = Batch.position_after

    def after(batch: Batch, offsets: Sequence[int], topics: Any) -> Position:
        return rightly(batch, offsets, topics)._replace(internal=batch.partition.position.internal)

    patch.setattr(Batch, "position_after", after)


def _stream_time_beyond_the_present(patch: pytest.MonkeyPatch) -> None:
    rightly = Batcher.prepare
    patch.setattr(Batcher, "prepare", lambda batcher, partition, records, present, until=None: rightly(
        batcher, partition, records, 253_402_300_799_999, until
    ))  # fmt: skip


def _expires_by_the_clock(patch: pytest.MonkeyPatch) -> None:
    rightly = Batcher.prepare
    patch.setattr(Batcher, "prepare", lambda batcher, partition, records, present, until=None: rightly(
        batcher, partition, records, present, present if until is None else until
    ))  # fmt: skip


# In restoring


def _forgets_tombstones(patch: pytest.MonkeyPatch) -> None:
    rightly = worker.restore.stored_records
    patch.setattr(worker.restore, "stored_records", lambda piece: (w for w in rightly(piece) if w.value is not None))


def _restores_the_first_of_each_key(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(worker.restore, "_last_of_each", lambda records: {r.key: r for r in reversed(records)}.values())


def _is_restored_when_the_documents_are(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Partition, "is_restored", property(lambda p: p.position.state >= p.ends.high_state))


# In the pure core


def _applies_equal_sequences(patch: pytest.MonkeyPatch) -> None:
    def is_newer(sequence: int, stored: int | None, stored_is_deletion: bool, *, deleted: bool) -> bool:
        return stored is None or sequence >= stored

    patch.setattr(advance, "_is_newer", is_newer)


def _counts_batches(patch: pytest.MonkeyPatch) -> None:
    """A run's revision grows once a batch."""
    rightly = deciding.decide_again

    def decide_again(workspace: Workspace, effects: Effects, record: RunRecord, cause: Any) -> None:
        if Key("run", record.run.tenant_id, record.run.id) in workspace._changed:
            record.revision -= 1
        rightly(workspace, effects, record, cause)

    for rules in (advance, deciding, marks, runs):
        patch.setattr(rules, "decide_again", decide_again)


def _joins_across_tenants(patch: pytest.MonkeyPatch) -> None:
    rightly = deciding.facts_of

    def facts_of(workspace: Workspace, record: RunRecord) -> Any:
        facts = rightly(workspace, record)
        if facts.operation is None and record.run.operation_run_id is not None:
            for key in workspace.existing():
                found = workspace.find(key)
                if isinstance(found, OperationRecord) and key.id == record.run.operation_run_id and found.operation:
                    return facts._replace(operation=found.operation)
        return facts

    patch.setattr(deciding, "facts_of", facts_of)


def _believes_the_coordinator(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(worker.loop, "_doubt", lambda *_: None)


def _forgets_deleted_runs(patch: pytest.MonkeyPatch) -> None:
    """A run that comes back begins at revision 1."""
    patch.setattr(Workspace, "deleted_run", lambda *_: None)


def _forgets_no_links(patch: pytest.MonkeyPatch) -> None:
    """A run that is forgotten stays among those of its operation."""
    patch.setattr(runs, "_unlink", lambda *_: None)


def _forgets_without_a_revision(patch: pytest.MonkeyPatch) -> None:
    """A document that only lost a sequence has the revision of the one that had it."""

    def decide_again(workspace: Workspace, effects: Effects, record: RunRecord, cause: Any) -> None:
        record.revision -= 1
        deciding.decide_again(workspace, effects, record, cause)

    patch.setattr(forgetting, "decide_again", decide_again)


def _forgets_the_snapshot_alone(patch: pytest.MonkeyPatch) -> None:
    """A snapshot that is forgotten stays with its operation."""
    patch.setattr(forgetting, "take_out", lambda *_: set())


def _remembers_runs(patch: pytest.MonkeyPatch) -> None:
    """Of a run that is to be forgotten is remembered what is of one that was deleted."""
    rightly = runs.remove_run

    def remove_run(workspace: Workspace, effects: Effects, record: RunRecord, cause: Any) -> None:
        gone = rightly(workspace, effects, record, cause)
        workspace.put(Key("deleted-run", record.run.tenant_id, record.run.id), gone)

    patch.setattr(forgetting, "remove_run", remove_run)


BUGS: Final[tuple[Bug, ...]] = (
    Bug("last stable offset as restore target", 35, log=_RestoresToTheLastStableOffset),
    Bug("deadline transaction without offsets", 1, _deadlines_without_offsets, log=_SendsOffsetsOnlyIfThereAreAny),
    Bug("refreshed group metadata", 188, log=_RefreshesItsMetadata),
    Bug("unguarded read", 5, store=_ReadsUnguarded),
    Bug("script without position check", 20, redis=_AppliesUnguarded),
    Bug("store written before the commit", 0, _store_first),
    Bug("offsets before flush", 1, log=_CommitsBeforeItFlushes),
    Bug("future not checked", 8, log=_ChecksNoFuture),
    Bug("record lost after a delivery time-out", 8, log=_PassesOverTimeouts),
    Bug("resume from a buffered record after an abort", 48, _goes_on_after_an_abort),
    Bug("stale sequence applied", 1, _applies_equal_sequences),
    Bug("first record of each key restored", 1, _restores_the_first_of_each_key),
    Bug("tombstone forgotten after a full restore", 23, _forgets_tombstones),
    Bug("revision from batching", 2, _counts_batches),
    Bug("expiry by wall clock", 3, _expires_by_the_clock),
    Bug("join across tenants", 0, _joins_across_tenants),
    Bug("producer kept over a take-over", 1, log=_KeepsItsProducer),
    Bug("offsets read that are not stable", 2, log=_AsksForOffsetsThatAreNotStable),
    Bug("old offsets believed", 57, _believes_the_coordinator),
    Bug("stream time forgotten over a take-over", 0, log=_ForgetsStreamTime),
    Bug("dead letters outside the transaction", 2, log=_WritesOutsideTheTransaction),
    Bug("restored from what is not committed", 1, log=_ReadsUncommitted),
    Bug("sweep of a wipe not guarded", 1, redis=_SweepsUnguarded),
    Bug("wipe of a store that has a position by now", 60, redis=_WipesWhateverIsThere),
    Bug("store's position read after the ends", 143, log=_AsksForTheEndsFirst),
    Bug("lost key not missed", 12, store=_MissesNoKey),
    Bug("lost index not missed", 53, redis=_MissesNoIndex),
    Bug("ready while restoring", 4, store=_IsReadyAtOnce),
    Bug("deadline left in the index", 0, redis=_ForgetsDeadlines),
    Bug("store that is away passed over", 35, _passes_over_a_store_that_is_away),
    Bug("idle without looking at the ends", 3, _idle_without_looking),
    Bug("merge that does not wait", 5, _merges_what_is_there),
    Bug("buffered records committed", 2, _commits_what_is_only_buffered),
    Bug("buffers kept over a take-over", 1, _keeps_buffers),
    Bug("deadlines forgotten at start", 0, _forgets_deadlines_at_start),
    Bug("records not given back", 6, _gives_nothing_back),
    Bug("neighbours of a culprit set aside", 1, _blames_all),
    Bug("internal records not counted in the position", 0, _forgets_internal_positions),
    Bug("stream time beyond the present", 2, _stream_time_beyond_the_present),
    Bug("tail followed whatever its age", 346, _replacing(worker.restore, "TAIL_MAX_AGE_MS", 10**15)),
    Bug("restored when the documents are", 0, _is_restored_when_the_documents_are),
    Bug("idle store never looked at", 99, _replacing(worker.loop, "LOOK_S", 10.0**9)),
    Bug("links of a forgotten run kept", 2, _forgets_no_links),
    Bug("sequence forgotten without a revision", 2, _forgets_without_a_revision),
    Bug("forgotten snapshot kept as evidence", 2, _forgets_the_snapshot_alone),
    Bug("forgotten run remembered", 5, _remembers_runs),
    Bug("deleted runs forgotten", 5, _forgets_deleted_runs),
)
