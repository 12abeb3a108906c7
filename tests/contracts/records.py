"""Builders of Kafka records: each gives an ordinary, valid event of tenant `t-1`; a test names what differs."""

from __future__ import annotations

import json
from typing import Any

from contracts.events import Changed, Decoder, Deleted, Event, Record, Rejected
from contracts.facts import Entity
from contracts.ids import partition_of
from contracts.topics import Topics

TOPICS = Topics()
PARTITIONS = 4
DECODER = Decoder(TOPICS, PARTITIONS, "murmur2")
HOME = partition_of("t-1", PARTITIONS, "murmur2")
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

TOPIC: dict[Entity, str] = {entity: topic for topic, entity in TOPICS.entities.items()}

COUNTS = {"total": 12, "succeeded": 12, "failed": 0, "skipped": 0, "partial": 0, "non_applied": 0}

DATA: dict[Entity, dict[str, Any]] = {
    "restore_run": {
        "id": "rr-1",
        "tenant_id": "t-1",
        "status": "completed",
        "is_dry_run": False,
        "operation_run_id": "op-1",
        "metadata": {"counts": COUNTS},
        "result_attention": {"state": "completed"},
        "updated_at": "2026-11-01T10:00:00Z",
    },
    "operation_run": {
        "id": "op-1",
        "tenant_id": "t-1",
        "status": "completed",
        "outcome": "succeeded",
        "started_at": "2026-11-01T09:58:00Z",
        "completed_at": "2026-11-01T10:00:00Z",
    },
    "evidence_snapshot": {
        "id": "es-1",
        "tenant_id": "t-1",
        "operation_run_id": "op-1",
        "status": "active",
        "generated_at": "2026-11-01T10:01:00Z",
        "expires_at": None,
    },
}
"""The examples of interfaces, section 3."""


def state(entity: Entity = "restore_run", /, **changes: Any) -> dict[str, Any]:
    """An entity's state; a field given as `...` is left out."""
    merged = {**DATA[entity], **changes}
    return {name: value for name, value in merged.items() if value is not ...}


def record(value: Any, headers: dict[str, Any], entity: Entity = "restore_run", **changes: Any) -> Record:
    """A record on the entity's topic with the tenant's key in its partition; a value that is not bytes becomes JSON."""
    raw = value if isinstance(value, bytes | None) else json.dumps(value).encode()
    pairs = tuple((n, v if isinstance(v, bytes) else str(v).encode()) for n, v in headers.items() if v is not ...)
    return Record(TOPIC[entity], HOME, 7, 1_793_527_200_000, b"t-1", raw, pairs)._replace(**changes)


def ce_headers(event_type: str = "restore.restore_run.changed", **changes: Any) -> dict[str, Any]:
    """The headers of a binary CloudEvent; a header given as `...` is left out."""
    headers = {
        "ce_specversion": "1.0",
        "ce_id": "e-1",
        "ce_source": "urn:platform",
        "ce_type": event_type,
        "ce_sequence": "5",
        "content-type": "application/json",
    }
    return headers | {name.replace("content_type", "content-type"): value for name, value in changes.items()}


def binary(data: Any = None, *, entity: Entity = "restore_run", verb: str = "changed", **headers: Any) -> Record:
    value = state(entity) if data is None else data
    return record(value, ce_headers(**{"event_type": f"restore.{entity}.{verb}", **headers}), entity)


def ce_event(data: Any = None, *, entity: Entity = "restore_run", verb: str = "changed", **changes: Any) -> Any:
    """A CloudEvent in the JSON event format; an attribute given as `...` is left out."""
    event = {
        "specversion": "1.0",
        "id": "e-1",
        "source": "urn:platform",
        "type": f"restore.{entity}.{verb}",
        "sequence": "5",
        "datacontenttype": "application/json",
        "data": state(entity) if data is None else data,
    }
    return {name: value for name, value in {**event, **changes}.items() if value is not ...}


def structured(data: Any = None, *, entity: Entity = "restore_run", verb: str = "changed", **changes: Any) -> Record:
    event = ce_event(data, entity=entity, verb=verb, **changes)
    return record(event, {"content-type": "application/cloudevents+json"}, entity)


def decode(what: Record) -> Event:
    return DECODER.decode(what)


def accepted(what: Record) -> Changed:
    event = decode(what)
    assert isinstance(event, Changed), event
    return event


def deleted(what: Record) -> Deleted:
    event = decode(what)
    assert isinstance(event, Deleted), event
    return event


def rejected(what: Record) -> Rejected:
    event = decode(what)
    assert isinstance(event, Rejected), event
    return event


def complaint(what: Record) -> str:
    """`<reason>: <detail>` of a record that is refused."""
    event = rejected(what)
    return f"{event.reason}: {event.detail}"
