"""Finding what bears on a restore run: in the records of a span, and in what is stored."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from contracts.events import Event, Record
from contracts.topics import Topics
from projections.record import Key, OperationRecord, RunRecord, decode_record
from projections.record import Record as StoredRecord
from worker.operators.log import LogReader
from worker.operators.selection import Bearing
from worker.operators.span import Extent, Span
from worker.operators.stored import readable
from worker.reading import StoreReader

SNAPSHOT = "evidence_snapshot/"
"""How a snapshot's mark begins in an operation's record."""


def find_bearing(
    reader: LogReader,
    topics: Topics,
    span: Span,
    extent: Extent,
    decode: Callable[[Record], Event],
    stored: Callable[[Iterable[Key]], list[StoredRecord | None]],
    tenant: str,
    run: str,
) -> Bearing:
    """The entities that bear on a run. `extent`: of all inputs in the tenant's partition; each is read once."""
    found = Bearing(tenant, run)
    for record in stored([Key("run", tenant, run)]):
        if isinstance(record, RunRecord) and record.run.operation_run_id is not None:
            found.operations.add(record.run.operation_run_id)
    for event in _events(reader, span, extent, topics.restore_runs, decode, tenant):
        found.learn_run(event)
    for record in stored([Key("operation", tenant, id) for id in sorted(found.operations)]):
        if isinstance(record, OperationRecord):
            found.snapshots |= record.snapshots.keys()
            found.snapshots |= {m.removeprefix(SNAPSHOT) for m in record.unreadable if m.startswith(SNAPSHOT)}
    for event in _events(reader, span, extent, topics.evidence_snapshots, decode, tenant):
        found.learn_snapshot(event)
    return found


def _events(
    reader: LogReader, span: Span, extent: Extent, topic: str, decode: Callable[[Record], Event], tenant: str
) -> Iterator[Event]:
    """The events of a tenant in one topic's part of the span."""
    key = tenant.encode()
    for records in reader.read({place: part for place, part in extent.parts.items() if place[0] == topic}):
        for record in records:
            if record.key == key and span.holds(record.timestamp):
                yield decode(record)


def stored_records(
    store: StoreReader, namespace: str, partition: int
) -> Callable[[Iterable[Key]], list[StoredRecord | None]]:
    """Reads records of a partition from Redis; None for one that is not there. It may raise RedisUnreachable."""

    def read(keys: Iterable[Key]) -> list[StoredRecord | None]:
        named = {key: f"{namespace}:{{{partition}}}:{key.kind}:{key.tenant}/{key.id}" for key in keys}
        if not named:
            return []
        values: Any = store.ask(lambda nodes: nodes.of(partition).mget(list(named.values())))
        return [_decoded(key, value) for key, value in zip(named, values, strict=True)]

    return read


def _decoded(key: Key, value: bytes | None) -> StoredRecord | None:
    with readable(key):
        return None if value is None else decode_record(key, value)
