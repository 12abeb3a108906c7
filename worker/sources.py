"""What a platform writes into the input topics: facts about an entity → a record, in any of the three forms.

The other side of `contracts.forms`, for the story and for simulated traffic. Sequences are the caller's; in
Debezium's form they are the row's column `revision`.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from kafka import KafkaProducer

from contracts.facts import Entity
from contracts.forms import JSON_COLUMNS, SPECVERSION, TABLES
from contracts.ids import Partitioner, partition_of
from contracts.times import format_time
from contracts.topics import TOPICS, Topics
from worker.kafka_clients import make_client
from worker.settings import KafkaSettings

Form = Literal["binary", "structured", "debezium"]
FORMS: Final[tuple[Form, ...]] = get_args(Form)
EVENT_SOURCE: Final = "urn:restore-platform"

CLOSE_TIMEOUT_S: Final = 5.0
"""A person who stops a command does not want to wait for a broker that is away."""

Data = Mapping[str, Any]
"""An entity's fields as in interfaces, section 3, without id and tenant_id."""


@dataclass(frozen=True, slots=True)
class SourceEvent:
    """One change of an entity; `data` None: it was deleted. `at`: when, in ms since the epoch."""

    entity: Entity
    tenant_id: str
    id: str
    sequence: int
    data: Data | None
    at: int

    @property
    def fields(self) -> dict[str, Any]:
        return {"id": self.id, "tenant_id": self.tenant_id, **(self.data or {})}


@dataclass(frozen=True, slots=True)
class InputRecord:
    """A record to be produced, to its tenant's partition. `key` None: the tenant's, as it should be."""

    topic: str
    tenant_id: str
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()
    key: bytes | None = None


def run_data(
    status: str,
    at: int,
    *,
    operation: str | None = None,
    dry_run: bool = False,
    counts: Mapping[str, int] | None = None,
    attention: str | None = None,
) -> Data:
    """A restore run's fields; `at` is its `updated_at`."""
    return {
        "status": status,
        "is_dry_run": dry_run,
        "operation_run_id": operation,
        "metadata": {"counts": dict(counts)} if counts else {},
        "result_attention": None if attention is None else {"state": attention},
        "updated_at": format_time(at),
    }


def operation_data(
    status: str, outcome: str | None = None, *, started_at: int | None = None, completed_at: int | None = None
) -> Data:
    """An operation run's fields."""
    return {
        "status": status,
        "outcome": outcome,
        "started_at": None if started_at is None else format_time(started_at),
        "completed_at": None if completed_at is None else format_time(completed_at),
    }


def snapshot_data(
    status: str, *, operation: str | None, generated_at: int | None = None, expires_at: int | None = None
) -> Data:
    """An evidence snapshot's fields."""
    return {
        "operation_run_id": operation,
        "status": status,
        "generated_at": None if generated_at is None else format_time(generated_at),
        "expires_at": None if expires_at is None else format_time(expires_at),
    }


def input_record(event: SourceEvent, form: Form, topics: Topics) -> InputRecord:
    """The event as a record."""
    topic = next(topics.name(row) for row in TOPICS if row.entity == event.entity)
    match form:
        case "binary":
            attributes = _attributes(event)
            headers = [(f"ce_{name}", value.encode()) for name, value in attributes.items()]
            return InputRecord(
                topic, event.tenant_id, _bytes(event.fields), (*headers, ("content-type", b"application/json"))
            )
        case "structured":
            value = {**_attributes(event), "datacontenttype": "application/json", "data": event.fields}
            headers = [("content-type", b"application/cloudevents+json; charset=utf-8")]
            return InputRecord(topic, event.tenant_id, _bytes(value), tuple(headers))
        case "debezium":
            return InputRecord(topic, event.tenant_id, _bytes(_change_event(event)))


def _attributes(event: SourceEvent) -> dict[str, str]:
    verb = "deleted" if event.data is None else "changed"
    return {
        "specversion": SPECVERSION,
        "id": f"{event.entity}-{event.tenant_id}-{event.id}-{event.sequence}",
        "source": EVENT_SOURCE,
        "type": f"restore.{event.entity}.{verb}",
        "subject": event.id,
        "time": format_time(event.at),
        "sequence": str(event.sequence),
    }


def _change_event(event: SourceEvent) -> dict[str, Any]:
    """Every second one in the wrapper that Connect adds with schemas enabled."""
    row = {**event.fields, "revision": event.sequence}
    row |= {name: json.dumps(row[name]) for name in JSON_COLUMNS if row.get(name) is not None}
    before, after, operation = (None, row, "u") if event.data is not None else (row, None, "d")
    change = {
        "before": before,
        "after": after,
        "source": {"connector": "postgresql", "table": TABLES[event.entity], "ts_ms": event.at},
        "op": "c" if event.sequence == 1 and after is not None else operation,
        "ts_ms": event.at,
    }
    return change if event.sequence % 2 else {"schema": {"type": "struct", "optional": False}, "payload": change}


def _bytes(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


class SourceProducer:
    """Writes input records as a well-behaved source does: idempotent, keyed by tenant, to the tenant's partition."""

    def __init__(self, settings: KafkaSettings, partitions: int) -> None:
        self._partitions = partitions
        self._partitioner: Partitioner = settings.partitioner
        self._producer = make_client(
            KafkaProducer,
            **settings.client_options(),
            client_id="restore-projector-source",
            acks="all",
            enable_idempotence=True,
            linger_ms=0,
            compression_type="lz4",
            metrics_enabled=False,
        )
        self._results: deque[Any] = deque()

    def send(self, record: InputRecord) -> None:
        """Hand a record over; raises what kept an earlier one from being written."""
        while self._results and self._results[0].is_done:
            self._results.popleft().get(timeout=0)
        partition = partition_of(record.tenant_id, self._partitions, self._partitioner)
        result = self._producer.send(
            record.topic,
            key=record.tenant_id.encode() if record.key is None else record.key,
            value=record.value,
            headers=list(record.headers),
            partition=partition,
        )
        self._results.append(result)

    def flush(self) -> None:
        """Wait until everything handed over is written; raises what kept a record from it."""
        self._producer.flush()
        while self._results:
            self._results.popleft().get(timeout=0)

    def close(self) -> None:
        """Give up what is not written within some seconds; `flush` first to be sure."""
        self._producer.close(timeout=CLOSE_TIMEOUT_S)
