"""One partition of a worker, batch by batch: its own batcher over a store of bytes, without a loop around it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import count, cycle
from typing import Final

from contracts.decision import decode, encode
from contracts.documents import change_headers
from contracts.events import Record
from projections.advance import Input, Outcome
from projections.record import Key, OperationRecord, SnapshotRecord
from projections.rules import is_unfinished
from tests.projections.builders import TOPICS, Fold, ms
from tests.worker.fakes import FakeStore
from worker.batch import Batch, Batcher
from worker.merge import Merge
from worker.partition import Partition
from worker.ports import Ends, Output, Position

PRESENT: Final = 2**60
FIRST: Final = Position("life-1", 0, 0)


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
    unfinished = {key for key, document in documents.items() if is_unfinished(document)}
    assert copy.unfinished == {key: entry for key, entry in copy.index.items() if key in unfinished}
