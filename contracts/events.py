"""A Kafka record's bytes and headers → an event, or the reason why it is none.

Pure: the same record always gives the same answer, and nothing that comes in ever raises.
"""

from __future__ import annotations

from dataclasses import dataclass

from contracts.facts import Entity, EvidenceSnapshot, OperationRun, RestoreRun, Source
from contracts.ids import Partitioner
from contracts.letters import Reason
from contracts.topics import Topics


@dataclass(frozen=True, slots=True)
class Record:
    """What came, and from where. `timestamp` is in ms since the epoch; header names are as the producer wrote them."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


@dataclass(frozen=True, slots=True)
class Changed:
    """An entity's whole state after a change. `facts` carry sequence and source."""

    entity: Entity
    tenant_id: str
    id: str
    sequence: int
    facts: RestoreRun | OperationRun | EvidenceSnapshot
    source: Source
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class Deleted:
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


@dataclass(frozen=True, slots=True)
class Mark:
    """The entity that an unreadable event was about; `sequence` is None where that was unreadable too."""

    entity: Entity
    tenant_id: str
    id: str
    sequence: int | None


@dataclass(frozen=True, slots=True)
class Rejected:
    """Not an event. `detail` is one line: where, what was expected, what came.

    `marks` is there only after a missing_sequence or schema_violation on the tenant's own key and partition whose
    entity and id are readable (interfaces, section 7).
    """

    reason: Reason
    detail: str
    marks: Mark | None = None
    traceparent: str | None = None


Event = Changed | Deleted | Ignored | Rejected

MAX_VALUE_BYTES = 524_288
"""Default of the setting LIMITS__VALUE_BYTES: a thousand times a usual event, and checked before parsing."""


class Decoder:
    """Decodes records of the three entity topics; built once, as it holds the topics' names."""

    def __init__(
        self, topics: Topics, partitions: int, partitioner: Partitioner, max_value_bytes: int = MAX_VALUE_BYTES
    ) -> None:
        self._entities = topics.entities
        self._partitions = partitions
        self._partitioner = partitioner
        self._max_value_bytes = max_value_bytes

    def decode(self, record: Record) -> Event:
        raise NotImplementedError
