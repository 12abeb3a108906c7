"""The records of one partition while events are applied to them.

A workspace is told which records the store holds (`load`), hands them out to be changed, and remembers which ones
were. It is either partial, as in the worker, where asking for a record that was not loaded is a bug, or complete, as
when a whole history is folded from nothing, where what was never written does not exist.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator

from projections.record import DELETION_MEMORY_MS, DeletedRun, Key, OperationRecord, Record, RunRecord, SnapshotRecord


class Workspace:
    """Records by key, the deadlines among them, stream time in ms, and how long deletions are remembered in it."""

    def __init__(self, stream_time: int = 0, *, complete: bool = False, deletion_memory_ms: int | None = None) -> None:
        self.stream_time = stream_time
        self.deletion_memory_ms = DELETION_MEMORY_MS if deletion_memory_ms is None else deletion_memory_ms
        self._complete = complete
        self._records: dict[Key, Record | None] = {}
        self._absent: set[Key] = set()
        self._changed: dict[Key, None] = {}
        self._deadlines: list[tuple[int, str, Key]] = []

    def load(self, key: Key, record: Record | None) -> None:
        """Say what the store holds under a key; None if nothing."""
        self._records[key] = record
        if record is None:
            self._absent.add(key)
        else:
            self._schedule(key, record)

    def knows(self, key: Key) -> bool:
        return self._complete or key in self._records

    def find(self, key: Key) -> Record | None:
        """The record under a key, or None; KeyError if a partial workspace was never told."""
        return self._records.get(key) if self._complete else self._records[key]

    def run(self, tenant: str, id: str) -> RunRecord | None:
        record = self.find(Key("run", tenant, id))
        assert record is None or isinstance(record, RunRecord)
        return record

    def deleted_run(self, tenant: str, id: str) -> DeletedRun | None:
        record = self.find(Key("deleted-run", tenant, id))
        assert record is None or isinstance(record, DeletedRun)
        return record

    def operation(self, tenant: str, id: str) -> OperationRecord | None:
        record = self.find(Key("operation", tenant, id))
        assert record is None or isinstance(record, OperationRecord)
        return record

    def snapshot(self, tenant: str, id: str) -> SnapshotRecord | None:
        record = self.find(Key("snapshot", tenant, id))
        assert record is None or isinstance(record, SnapshotRecord)
        return record

    def put(self, key: Key, record: Record | None) -> None:
        """Write a record, or with None remove it; to be called after changing one in place as well."""
        self._records[key] = record
        self._changed[key] = None
        if record is not None:
            self._schedule(key, record)

    def changes(self) -> Iterator[tuple[Key, Record | None]]:
        """What was written, in the order of each key's first write; a key that was and is absent is left out."""
        for key in self._changed:
            record = self._records[key]
            if record is not None or key not in self._absent or key.kind == "run":
                yield key, record

    def existing(self) -> Iterable[Key]:
        """The keys of all records that exist."""
        return [key for key, record in self._records.items() if record is not None]

    def next_deadline(self, until: int) -> tuple[int, Key] | None:
        """Take the earliest deadline not after `until`, by time and then key; None when there is none left."""
        while self._deadlines and self._deadlines[0][0] <= until:
            due, _, key = heapq.heappop(self._deadlines)
            if _due(self._records.get(key)) == due:
                return due, key
        return None

    def _schedule(self, key: Key, record: Record) -> None:
        due = _due(record)
        if due is not None:
            heapq.heappush(self._deadlines, (due, str(key), key))


def _due(record: Record | None) -> int | None:
    return record.due if isinstance(record, OperationRecord | SnapshotRecord) else None
