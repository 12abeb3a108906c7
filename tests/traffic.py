"""Input for tests: events by builders that name only what a test is about, in any of the forms, and senders.

Order matters. Records of a run in different topics keep their order only if they are at least 100 ms apart, so a test
that sends a story live sends it step by step: `Sender.steps`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from kafka import KafkaProducer, TopicPartition

from contracts.facts import Entity
from contracts.ids import partition_of
from contracts.times import format_time
from contracts.topics import Topics
from tests.servers.waiting import wait_until
from worker.settings import Settings

Form = Literal["binary", "structured", "debezium", "debezium_wrapped"]
FORMS: Final[tuple[Form, ...]] = ("binary", "structured", "debezium", "debezium_wrapped")
Headers = Sequence[tuple[str, bytes | None]]
"""Kafka allows a header without a value."""

Place = tuple[str, int, int]
"""Topic, partition and offset of a record."""

STEP_MS: Final = 110
"""How far apart records of a run in different topics are sent; the order of those is promised from 100 ms on."""
SEND_TIMEOUT_S: Final = 60.0
"""Kafka may be down for a while in the middle of the traffic."""


@dataclass(frozen=True, slots=True)
class Event:
    """What a source says: `data` is the entity's state, only what names it for a deletion."""

    entity: Entity
    verb: Literal["changed", "deleted"]
    sequence: int
    data: dict[str, Any]
    traceparent: str | None = None

    @property
    def tenant(self) -> str:
        return str(self.data["tenant_id"])

    def of(self, tenant: str) -> Event:
        """The same, of another tenant."""
        return replace(self, data={**self.data, "tenant_id": tenant})

    def deletion(self, sequence: int) -> Event:
        """The deletion of the entity that this is about."""
        return Event(self.entity, "deleted", sequence, {name: self.data[name] for name in ("id", "tenant_id")})

    def traced(self, traceparent: str) -> Event:
        return replace(self, traceparent=traceparent)


@dataclass(frozen=True, slots=True)
class Message:
    """A record to be sent; `partition` None is the tenant's own."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers
    partition: int | None = None


# Builders


def run(
    tenant: str, id: str, sequence: int, status: str = "completed", operation: str | None = None, **fields: Any
) -> Event:
    """A restore run, 12 of 12 items unless `counts` says otherwise."""
    counts = fields.pop("counts", {"total": 12, "succeeded": 12, "failed": 0, "skipped": 0})
    data = {
        "id": id,
        "tenant_id": tenant,
        "status": status,
        "is_dry_run": False,
        "operation_run_id": operation,
        "metadata": {"counts": counts},
        **fields,
    }
    return Event("restore_run", "changed", sequence, data)


def operation(
    tenant: str, id: str, sequence: int, status: str = "completed", outcome: str | None = "succeeded", **fields: Any
) -> Event:
    data = {"id": id, "tenant_id": tenant, "status": status, "outcome": outcome, **fields}
    return Event("operation_run", "changed", sequence, data)


def snapshot(
    tenant: str, id: str, sequence: int, operation: str | None, status: str = "active", **fields: Any
) -> Event:
    """An evidence snapshot; `expires_in_ms` sets `expires_at` from now."""
    if (expires_in_ms := fields.pop("expires_in_ms", None)) is not None:
        fields["expires_at"] = format_time(now_ms() + expires_in_ms)
    data = {"id": id, "tenant_id": tenant, "operation_run_id": operation, "status": status, **fields}
    return Event("evidence_snapshot", "changed", sequence, data)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


# Forms


def message(event: Event, topics: Topics, form: Form = "binary") -> Message:
    """The event as a record of its topic."""
    topic = getattr(topics, f"{event.entity}s")
    key = event.tenant.encode()
    trace: Headers = [] if event.traceparent is None else [("traceparent", event.traceparent.encode())]
    match form:
        case "binary":
            return Message(topic, key, encode(event.data), [*_binary_headers(event), *trace])
        case "structured":
            headers = [("content-type", b"application/cloudevents+json; charset=utf-8")]
            return Message(topic, key, encode(_structured(event)), [*headers, *trace])
        case "debezium":
            return Message(topic, key, encode(change_event(event)), trace)
        case "debezium_wrapped":
            return Message(topic, key, encode({"schema": {}, "payload": change_event(event)}), trace)


def encode(value: Any) -> bytes:
    return json.dumps(value).encode()


def event_type(event: Event) -> str:
    return f"restore.{event.entity}.{event.verb}"


def _binary_headers(event: Event) -> Headers:
    return [
        ("ce_specversion", b"1.0"),
        ("ce_id", f"{event.data['id']}-{event.sequence}".encode()),
        ("ce_source", b"urn:test"),
        ("ce_type", event_type(event).encode()),
        ("ce_sequence", str(event.sequence).encode()),
        ("content-type", b"application/json"),
    ]


def _structured(event: Event) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": f"{event.data['id']}-{event.sequence}",
        "source": "urn:test",
        "type": event_type(event),
        "sequence": str(event.sequence),
        "datacontenttype": "application/json",
        "data": event.data,
    }


def change_event(event: Event, op: str | None = None) -> dict[str, Any]:
    """A Debezium change event of a table with a column `revision`, its columns of JSON as strings."""
    row = {**event.data, "revision": event.sequence}
    for column in ("metadata", "result_attention"):
        if isinstance(row.get(column), dict):
            row[column] = json.dumps(row[column])
    op = op or ("d" if event.verb == "deleted" else "u")
    rows = {"before": row, "after": None} if op == "d" else {"before": None, "after": row}
    return {**rows, "op": op, "source": {"table": f"{event.entity}s", "lsn": 7_000_000 + event.sequence}}


# Sending


class Sender:
    """Sends to the inputs of an installation, everything acknowledged before a method returns."""

    def __init__(self, settings: Settings, producer: KafkaProducer, partitions: int) -> None:
        self.topics = settings.topic_names
        self._producer = producer
        self._partitions = partitions
        self._partitioner = settings.kafka.partitioner

    def events(self, *events: Event, form: Form = "binary") -> list[Place]:
        """Send events at once; returns where each is."""
        return self.messages([message(event, self.topics, form) for event in events])

    def steps(self, *events: Event, form: Form = "binary") -> None:
        """Send events one after the other, far enough apart for their order to count."""
        for event in events:
            self.events(event, form=form)
            pause = time.monotonic() + STEP_MS / 1000
            wait_until(lambda at=pause: time.monotonic() >= at, 1, "the next step's time comes")  # type: ignore[misc]

    def messages(self, messages: Iterable[Message]) -> list[Place]:
        return self._await([self._send(message) for message in messages])

    def _send(self, message: Message) -> Any:
        return self._producer.send(
            message.topic,
            key=message.key,
            value=message.value,
            headers=list(message.headers),
            partition=self._partition(message),
        )

    def raw(self, messages: Iterable[Message]) -> list[Place]:
        """Send what kafka-python refuses to, though Kafka takes it: headers without value, neither key nor value."""
        futures = []
        for message in messages:
            self._producer.partitions_for(message.topic)
            place = TopicPartition(message.topic, self._partition(message))
            headers = _Unmeasured(message.headers)
            futures.append(self._producer._accumulator.append(place, None, message.key, message.value, headers)[0])
        return self._await(futures)

    def _await(self, futures: Sequence[Any]) -> list[Place]:
        self._producer.flush(SEND_TIMEOUT_S)
        written = [future.get(SEND_TIMEOUT_S) for future in futures]
        return [(w.topic, w.partition, w.offset) for w in written]

    def _partition(self, message: Message) -> int:
        return self.partition(message.key or b"") if message.partition is None else message.partition

    def partition(self, tenant: str | bytes) -> int:
        name = tenant.decode() if isinstance(tenant, bytes) else tenant
        return partition_of(name, self._partitions, self._partitioner)


class _Unmeasured(list[tuple[str, bytes | None]]):
    """Headers that kafka-python encodes without asking for their values' lengths, which null has not."""

    def __bool__(self) -> bool:
        return False


@contextmanager
def sender(settings: Settings, partitions: int) -> Iterator[Sender]:
    producer = KafkaProducer(
        **settings.kafka.client_options(),
        acks="all",
        linger_ms=0,
        max_request_size=4 << 20,
        metrics_enabled=False,
        delivery_timeout_ms=int(SEND_TIMEOUT_S * 1000),
        reconnect_backoff_max_ms=500,
    )
    try:
        yield Sender(settings, producer, partitions)
    finally:
        producer.close(timeout=5)
