"""What bears on a run is told from its records, those of its operations, and those of their snapshots."""

from __future__ import annotations

from typing import Any

import pytest

from contracts.events import Decoder, Event, Record
from contracts.facts import Entity
from projections.record import Key, OperationRecord, decode_record
from projections.record import Record as StoredRecord
from tests.contracts.records import HOME, PARTITIONS, TOPICS, binary, state
from worker.operators.bearing import find_bearing
from worker.operators.log import Part
from worker.operators.selection import Bearing, Selection
from worker.operators.span import Extent, Span

DECODER = Decoder(TOPICS, PARTITIONS, "murmur2")
SPAN = Span(0, 10**13, TOPICS.inputs[:3])
EXTENT = Extent({(topic, HOME): Part(0, 100) for topic in SPAN.topics}, ())


def record(entity: Entity, id: str, *, verb: str = "changed", **fields: Any) -> Record:
    """A record of t-1."""
    data = state(entity, id=id, **fields)
    if verb == "deleted":
        data = {name: data[name] for name in ("id", "tenant_id")}
    return binary(data, entity=entity, verb=verb)


RUN = record("restore_run", "rr-1", operation_run_id="op-1")
RELINKED = record("restore_run", "rr-1", operation_run_id="op-2")
OTHER_RUN = record("restore_run", "rr-2", operation_run_id="op-3")
SNAPSHOT = record("evidence_snapshot", "es-1", operation_run_id="op-1")
MOVED = record("evidence_snapshot", "es-1", operation_run_id="op-9")
OTHER_SNAPSHOT = record("evidence_snapshot", "es-2", operation_run_id="op-3")


class Records:
    """A reader of records at hand."""

    def __init__(self, *records: Record) -> None:
        self._records = records

    def read(self, parts: Any) -> Any:
        yield [record for record in self._records if (record.topic, HOME) in parts]


def bearing(*records: Record, stored: dict[Key, StoredRecord] | None = None) -> Bearing:
    reader: Any = Records(*records)
    known = stored or {}
    return find_bearing(
        reader, TOPICS, SPAN, EXTENT, DECODER.decode, lambda keys: [known.get(key) for key in keys], "t-1", "rr-1"
    )


def test_every_operation_that_it_names_or_named_bears_on_it_and_their_snapshots() -> None:
    found = bearing(SNAPSHOT, OTHER_SNAPSHOT, RUN, OTHER_RUN, RELINKED)
    assert (found.operations, found.snapshots) == ({"op-1", "op-2"}, {"es-1"})


def test_what_is_stored_counts_where_the_span_does_not_tell() -> None:
    run = _stored_run(operation="op-7")
    kept = OperationRecord(
        snapshots={"es-7": _facts(SNAPSHOT)}, unreadable={"evidence_snapshot/es-8", "operation_run/op-7"}
    )
    found = bearing(stored={Key("run", "t-1", "rr-1"): run, Key("operation", "t-1", "op-7"): kept})
    assert (found.operations, found.snapshots) == ({"op-7"}, {"es-7", "es-8"})


def test_another_tenants_run_of_the_same_name_is_another_one() -> None:
    assert bearing(RUN._replace(key=b"t-2")).operations == set()


def test_records_outside_the_span_tell_nothing() -> None:
    assert bearing(RUN._replace(timestamp=SPAN.until)).operations == set()


BEARING = Bearing("t-1", "rr-1", {"op-1"}, {"es-1"})


@pytest.mark.parametrize(
    ("event", "wanted"),
    [
        (RUN, True),
        (record("restore_run", "rr-1", verb="deleted"), True),
        (record("restore_run", "rr-1", status="no such status"), True),
        (OTHER_RUN, False),
        (record("operation_run", "op-1"), True),
        (record("operation_run", "rr-1"), False),
        (SNAPSHOT, True),
        (MOVED, True),
        (OTHER_SNAPSHOT, False),
        (RUN._replace(value=b"{"), False),
        (RUN._replace(value=None), False),
        (RUN._replace(key=b"t-2"), False),
    ],
)
def test_of_each_entity_all_records_are_meant_that_can_be_told_to_be_its_own(event: Record, wanted: object) -> None:
    assert Selection(DECODER.decode, "t-1", BEARING).wants(event) is wanted


def test_of_a_tenant_all_records_are_meant_also_what_cannot_be_read() -> None:
    def unread(_: Record) -> Event:
        raise AssertionError("it is not read for this")

    selection = Selection(unread, "t-1")
    assert selection.wants(RUN._replace(value=b"{"))
    assert not selection.wants(RUN._replace(key=b"t-2"))
    assert Selection(unread).wants(RUN._replace(key=None))


def _facts(of: Record) -> Any:
    event: Any = DECODER.decode(of)
    return event.facts


def _stored_run(operation: str) -> StoredRecord:
    from contracts.decision import encode
    from projections.examples import EXAMPLES, document

    shown = document(EXAMPLES["completed_proof_incomplete"])
    shown["diagnostics"]["inputs"]["restore_run"]["operation_run_id"] = operation
    return decode_record(Key("run", "t-1", "rr-1"), encode(shown))
