"""A Kafka record's bytes and headers → an event, or the reason why it is none.

Pure: the same record always gives the same answer, and nothing that comes in ever raises.

`contracts.forms` reads what a record claims, in any of the three forms. Here is the one path by which every claim is
judged; the order of its checks is the order of the reasons in interfaces, section 7.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

from contracts.facts import MAX_SEQUENCE, Entity, EvidenceSnapshot, OperationRun, RestoreRun, Source
from contracts.forms import Claim, Headers, Refused, read_claim, read_headers
from contracts.ids import Partitioner, is_identifier, partition_of
from contracts.letters import Reason
from contracts.topics import Topics
from contracts.violations import NOTHING, InvalidInput, complaint, one_of, quote, show
from contracts.wire import DELETED, DELETED_ROW, READ, read_identifier, read_sequence


class Record(NamedTuple):
    """What came, and from where. `timestamp` is in ms since the epoch; header names are as the producer wrote them."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


class Changed(NamedTuple):
    """An entity's whole state after a change. `facts` carry sequence and source."""

    entity: Entity
    tenant_id: str
    id: str
    sequence: int
    facts: RestoreRun | OperationRun | EvidenceSnapshot
    source: Source
    traceparent: str | None = None


class Deleted(NamedTuple):
    """An entity is gone."""

    entity: Entity
    tenant_id: str
    id: str
    sequence: int
    source: Source
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class Ignored:
    """A null value: a tombstone of the source's, which says nothing (interfaces, section 3)."""


class Mark(NamedTuple):
    """The entity that an unreadable event was about; `sequence` is None where that was unreadable too."""

    entity: Entity
    tenant_id: str
    id: str
    sequence: int | None


class Rejected(NamedTuple):
    """Not an event. `detail` is one line: where, what was expected, what came.

    `marks` is there only after a missing_sequence or schema_violation on the tenant's own key and partition whose
    entity and id are readable (interfaces, section 7).
    """

    reason: Reason
    detail: str
    marks: Mark | None = None
    traceparent: str | None = None


Event = Changed | Deleted | Ignored | Rejected

IGNORED = Ignored()

MAX_VALUE_BYTES = 524_288
"""Default of the setting LIMITS__VALUE_BYTES: over a thousand times a usual event, and checked before parsing."""

TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-[!-~]{1,200})?", re.ASCII)
"""W3C Trace Context, later versions included. Anything else is free text, and is not passed on."""


class Decoder:
    """Decodes records of the three entity topics. Built once: it holds the topics' names and the limits."""

    def __init__(
        self, topics: Topics, partitions: int, partitioner: Partitioner, max_value_bytes: int = MAX_VALUE_BYTES
    ) -> None:
        self._entities = topics.entities
        self._partitions = partitions
        self._partitioner = partitioner
        self._max_value_bytes = max_value_bytes

    def decode(self, record: Record) -> Event:
        """The event that the record is, or why it is none; never raises.

        A topic that carries no entity's events, which an operator's replay may name, makes an unknown_type.
        """
        entity, value = self._entities.get(record.topic), record.value
        if value is None:
            return IGNORED
        if entity is None:
            detail = complaint("topic", one_of(tuple(self._entities)), quote(record.topic))
            return Rejected("unknown_type", detail)
        if len(value) > self._max_value_bytes:
            limit = f"at most {self._max_value_bytes} bytes"
            return Rejected("too_large", complaint("value", limit, f"{len(value)} bytes"))
        headers: Headers = {}
        try:
            headers = read_headers(record.headers)
            claim = read_claim(headers, value, entity)
        except Refused as refusal:
            return Rejected(refusal.reason, refusal.detail, traceparent=_traceparent(headers, None))
        return self._judge(record, claim, _traceparent(headers, claim.traceparent))

    def _judge(self, record: Record, claim: Claim, traceparent: str | None) -> Event:
        sequence = read_sequence(claim.sequence)
        if sequence is None:
            expected = f"decimal digits, up to {MAX_SEQUENCE}"
            detail = complaint(claim.sequence_place, expected, show(claim.sequence))
            return Rejected("missing_sequence", detail, self._mark(record, claim, None), traceparent)
        source = Source(record.topic, record.partition, record.offset, record.timestamp)
        try:
            event = _event(record, claim, sequence, source, traceparent)
        except InvalidInput as violation:
            return Rejected("schema_violation", str(violation), self._mark(record, claim, sequence), traceparent)
        if not event.tenant_id or record.key != event.tenant_id.encode():
            expected = f"the tenant id {quote(event.tenant_id)}" if event.tenant_id else "a tenant id"
            return Rejected("key_mismatch", complaint("key", expected, _show_key(record.key)), None, traceparent)
        partition = partition_of(event.tenant_id, self._partitions, self._partitioner)
        if record.partition != partition:
            expected = f"{partition} ({self._partitioner} of {quote(event.tenant_id)}, {self._partitions} partitions)"
            detail = complaint("partition", expected, str(record.partition))
            return Rejected("partition_mismatch", detail, None, traceparent)
        return event

    def _mark(self, record: Record, claim: Claim, sequence: int | None) -> Mark | None:
        """The entity that an unreadable event was about, where it is readable and the record lies where it belongs."""
        data = claim.data
        if not isinstance(data, dict):
            return None
        entity_id = read_identifier(data.get("id"))
        tenant_id = _tenant_of_key(record.key) if claim.tenant_is_key else read_identifier(data.get("tenant_id"))
        if not entity_id or not tenant_id or record.key != tenant_id.encode():
            return None
        if record.partition != partition_of(tenant_id, self._partitions, self._partitioner):
            return None
        return Mark(claim.entity, tenant_id, entity_id, sequence)


def _event(record: Record, claim: Claim, sequence: int, source: Source, traceparent: str | None) -> Changed | Deleted:
    """The event, its tenant not yet compared with the key; raises InvalidInput."""
    entity = claim.entity
    if claim.verb == "changed":
        facts = READ[entity](claim.data, claim.path, sequence, source)
        return Changed(entity, facts.tenant_id, facts.id, sequence, facts, source, traceparent)
    if claim.tenant_is_key:
        row = DELETED_ROW.read(claim.data, claim.path)
        return Deleted(entity, _tenant_of_key(record.key), row["id"], sequence, source, traceparent)
    data = DELETED.read(claim.data, claim.path)
    return Deleted(entity, data["tenant_id"], data["id"], sequence, source, traceparent)


def _tenant_of_key(key: bytes | None) -> str:
    """The tenant id that a record's key is; empty if it is none."""
    text = (key or b"").decode(errors="replace")
    return text if is_identifier(text) else ""


def _show_key(key: bytes | None) -> str:
    return show(NOTHING) if key is None else quote(key.decode(errors="replace"))


def _traceparent(headers: Headers, attribute: object) -> str | None:
    """The first of header, binary attribute and structured attribute that is a W3C traceparent."""
    for value in (headers.get("traceparent"), headers.get("ce_traceparent")):
        if value:
            text = value.decode(errors="replace")
            if TRACEPARENT.fullmatch(text):
                return text
    return attribute if isinstance(attribute, str) and TRACEPARENT.fullmatch(attribute) else None
