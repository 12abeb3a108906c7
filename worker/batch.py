"""A batch of one partition: read what its inputs may touch, apply them, and say what is to be published and stored.

Nothing is written here. The loop publishes the batches of all partitions in one transaction and only then hands each
partition's writes to the store.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from contracts.commands import Recompute
from contracts.decision import encode
from contracts.documents import change_headers
from contracts.events import Record
from contracts.letters import letter_headers
from contracts.topics import Topics
from projections.advance import Effects, Input, Outcome, advance, advance_time, current_document, recompute
from projections.closure import read_closure, starting_keys
from projections.formats import NewerFormat
from projections.links import contradictions
from projections.record import (
    DeletedRun,
    Key,
    OperationRecord,
    RunRecord,
    SnapshotRecord,
    decode_record,
    encode_internal,
)
from projections.record import Record as StoreRecord
from projections.rules import is_unfinished
from projections.workspace import Workspace
from worker.errors import DecidedByNewer, StoreDamaged
from worker.partition import Partition
from worker.ports import Output, Policies, Position, Store, Stored, StoredInternal, StoredRun

MAX_LOADED: Final = 50_000
"""Records that a batch may read: at 3 KB each 150 MB, which only operations with hundreds of runs come near."""
MAX_DECIDED: Final = 20_000
"""Decisions after which a batch takes no further input: about half a second of work."""
MAX_DUE: Final = 1_000
"""Deadlines that a batch takes from the store."""


@dataclass(slots=True)
class Batch:
    """What one partition contributes to a transaction.

    `outputs` and `writes`: to publish and then to store. `taken`: how many of the records given were used, from the
    first on; the others are to be given back.
    """

    partition: Partition
    taken: Sequence[Record]
    outputs: list[Output] = field(default_factory=list)
    writes: list[Stored] = field(default_factory=list)
    stream_time: int = 0
    outcomes: Counter[tuple[str, Outcome]] = field(default_factory=Counter)
    """How many records of each input topic ended in which way."""
    effects: Effects = field(default_factory=Effects)
    policies: Policies | None = None
    """What is to be committed of the partition's policies; None: what is known of them."""
    again: Sequence[Key] = ()
    """The runs that were decided again because rules have changed."""

    def position_after(self, offsets: Sequence[int], topics: Topics) -> Position:
        """Where the store is once this batch's writes are in it, given the offset of each output."""
        before = self.partition.position
        state, internal = before.state, before.internal
        for output, offset in zip(self.outputs, offsets, strict=True):
            if output.topic == topics.decision_state:
                state = offset + 1
            elif output.topic == topics.internal:
                internal = offset + 1
        return Position(before.generation, state, internal)

    @property
    def documents(self) -> int:
        """How many state documents, or their tombstones, it publishes."""
        return sum(isinstance(write, StoredRun) for write in self.writes)

    @property
    def earliest_due(self) -> int | None:
        """The earliest deadline among what is to be stored."""
        return min((w.due for w in self.writes if isinstance(w, StoredInternal) and w.due is not None), default=None)


class Batcher:
    """Makes batches. `to_input`: what a record of any input topic says; `topics`: where outputs go."""

    def __init__(
        self,
        store: Store,
        to_input: Callable[[Record], Input],
        topics: Topics,
        deletion_memory_ms: int | None = None,
    ) -> None:
        self._store = store
        self._to_input = to_input
        self._topics = topics
        self._deletion_memory_ms = deletion_memory_ms

    def prepare(self, partition: Partition, records: Sequence[Record], present: int, until: int | None = None) -> Batch:
        """Apply records in the order given, and with `until` deadlines up to that time after them.

        `present`, in ms, bounds stream time. Raises PositionMoved if the store is not where the partition believes,
        StoreDamaged if what it holds contradicts itself.
        """
        inputs = [self._to_input(record) for record in records]
        workspace, inputs, until = self._load(partition, inputs, present, until)
        effects = Effects()
        if partition.recompute is not None:
            self._decide_again(workspace, effects, (key for key in workspace.existing() if key.kind == "run"))
        outcomes: Counter[tuple[str, Outcome]] = Counter()
        used = 0
        for input in inputs:
            outcomes[records[used].topic, advance(workspace, effects, input, present)] += 1
            used += 1
            if effects.counts["decided"] >= MAX_DECIDED:
                break
        if until is not None and used == len(inputs):
            advance_time(workspace, effects, until)
        taken = records[:used]
        batch = Batch(partition, taken, stream_time=workspace.stream_time, outcomes=outcomes, effects=effects)
        self._collect(batch, workspace, effects)
        return batch

    def recompute(self, partition: Partition, runs: Sequence[Key]) -> Batch:
        """Decide these runs again by their stored facts, or some of them, from the first on. Raises as `prepare`."""
        while True:
            workspace = Workspace(partition.stream_time, deletion_memory_ms=self._deletion_memory_ms)
            if read_closure(workspace, runs, lambda keys: self._read(partition, keys), MAX_LOADED):
                break
            assert len(runs) > 1, "what one run needs is bounded by MAX_LINKS"
            runs = runs[: len(runs) // 2]
        check_links(partition.number, workspace, [])
        effects = Effects()
        self._decide_again(workspace, effects, runs)
        batch = Batch(partition, (), stream_time=partition.stream_time, effects=effects, again=runs)
        self._collect(batch, workspace, effects)
        return batch

    @staticmethod
    def _decide_again(workspace: Workspace, effects: Effects, runs: Iterable[Key]) -> None:
        """What the rules have changed is told as that (origin `recompute`), before anything live comes to it."""
        for key in runs:
            recompute(workspace, effects, Recompute(key.tenant, key.id), workspace.stream_time)

    def _load(
        self, partition: Partition, inputs: list[Input], present: int, until: int | None
    ) -> tuple[Workspace, list[Input], int | None]:
        """A workspace with all that the inputs may touch, and as many inputs and deadlines as it can be had for."""
        most_due = MAX_DUE
        while True:
            workspace = Workspace(partition.stream_time, deletion_memory_ms=self._deletion_memory_ms)
            horizon = max(partition.stream_time, until or 0, *(min(i.at, present) for i in inputs))
            due = self._due(partition, horizon, most_due)
            if len(due) == most_due:
                inputs, until = _ahead_of(due, inputs, present, partition.stream_time)
            keys = [key for i in inputs for key in starting_keys(i.event)]
            keys += [key for _, key in due]
            if read_closure(workspace, keys, lambda keys: self._read(partition, keys), MAX_LOADED):
                check_links(partition.number, workspace, due)
                return workspace, inputs, until
            if len(inputs) > 1:
                inputs, until = inputs[: len(inputs) // 2], None
            else:
                assert len(due) > 1, "what one input or one deadline needs is bounded by MAX_LINKS"
                most_due = len(due) // 2

    def _due(self, partition: Partition, horizon: int, limit: int) -> list[tuple[int, Key]]:
        if partition.next_due is None or partition.next_due > horizon:
            return []
        return self._store.due(partition.number, partition.position, horizon, limit)

    def _read(self, partition: Partition, keys: list[Key]) -> Iterable[StoreRecord | None]:
        for key, data in zip(keys, self._store.read(partition.number, partition.position, keys), strict=True):
            if data is None:
                yield None
                continue
            try:
                yield decode_record(key, data)
            except NewerFormat as error:
                raise DecidedByNewer(partition.number, f"{error.family} format", error.found, error.ours) from error
            except (KeyError, TypeError, ValueError) as error:
                raise StoreDamaged(partition.number, f"{key} cannot be read: {error!r}") from error

    def _collect(self, batch: Batch, workspace: Workspace, effects: Effects) -> None:
        for key, record in workspace.changes():
            if key.kind == "run":
                assert record is None or isinstance(record, RunRecord)
                self._collect_run(batch, workspace, effects, key, record)
            else:
                assert not isinstance(record, RunRecord)
                value = None if record is None else encode_internal(record)
                due = None if record is None or isinstance(record, DeletedRun) else record.due
                batch.outputs.append(self._output(batch, self._topics.internal, key, value))
                batch.writes.append(StoredInternal(key, value, due))
        for change in effects.changes:
            headers = change_headers(change.body, self._topics.prefix, change.traceparent)
            value = encode(change.body)
            batch.outputs.append(self._output(batch, self._topics.decision_changes, change.key, value, headers))
        for letter in effects.letters:
            headers = letter_headers(letter.record, letter.reason, letter.detail)
            topic, number = self._topics.dead_letters, batch.partition.number
            batch.outputs.append(Output(topic, number, letter.record.key, letter.record.value, headers))

    def _collect_run(
        self, batch: Batch, workspace: Workspace, effects: Effects, key: Key, record: RunRecord | None
    ) -> None:
        traceparent = effects.traceparents.get(key)
        headers = [] if traceparent is None else [("traceparent", traceparent.encode())]
        if record is None:
            value = None
            headers.append(("revision", b"%d" % effects.removed[key]))
            batch.writes.append(StoredRun(key, None))
        else:
            document = current_document(workspace, record)
            value = encode(document)
            batch.writes.append(StoredRun(key, value, record.state, record.changed_at, is_unfinished(document)))
        batch.outputs.append(self._output(batch, self._topics.decision_state, key, value, headers))

    @staticmethod
    def _output(
        batch: Batch, topic: str, key: Key, value: bytes | None, headers: Sequence[tuple[str, bytes]] = ()
    ) -> Output:
        return Output(topic, batch.partition.number, str(key).encode(), value, headers)


def _ahead_of(
    due: list[tuple[int, Key]], inputs: list[Input], present: int, stream_time: int
) -> tuple[list[Input], int]:
    """The inputs and the time up to which a batch may go that knows these deadlines, and that there may be more.

    There may be more of the last one's time, but none before it. Only when there is nothing else to do do those of that
    time fall that are known; the others follow in the next batch, before anything else happens.
    """
    last = due[-1][0]
    ahead = []
    for input in inputs:
        stream_time = max(stream_time, min(input.at, present))
        if stream_time >= last:
            break
        ahead.append(input)
    return ahead, last - 1 if ahead or due[0][0] < last else last


def check_links(partition: int, workspace: Workspace, due: list[tuple[int, Key]]) -> None:
    """Links must be the same from both ends: what a lost or foreign key breaks first."""
    for at, key in due:
        record = workspace.find(key)
        if not isinstance(record, OperationRecord | SnapshotRecord) or record.due != at:
            raise StoreDamaged(partition, f"{key} has a deadline that is not its own")
    for _, what in contradictions(workspace):
        raise StoreDamaged(partition, what)
