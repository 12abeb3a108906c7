"""Which records of a span are meant: all, a tenant's, or those that bear on one restore run.

On a run bear its own records, those of every operation that it names or named, and those of the snapshots that are or
were of such an operation. Which these are is read from the records of the span and from what is stored; a record that
cannot be read is of the entity that it can still be told to be about, if it can.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from contracts.events import Changed, Deleted, Event, Mark, Record, Rejected
from contracts.facts import Entity, EvidenceSnapshot, RestoreRun


@dataclass(slots=True)
class Bearing:
    """The entities that bear on a run of a tenant."""

    tenant: str
    run: str
    operations: set[str] = field(default_factory=set)
    snapshots: set[str] = field(default_factory=set)

    def learn_run(self, event: Event) -> None:
        """From an event of a restore run: which operation it names."""
        match event:
            case Changed(tenant_id=self.tenant, id=self.run, facts=RestoreRun(operation_run_id=str(operation))):
                self.operations.add(operation)

    def learn_snapshot(self, event: Event) -> None:
        """From an event of a snapshot, once all operations are known: whether it is of one of them."""
        match event:
            case Changed(tenant_id=self.tenant, facts=EvidenceSnapshot(operation_run_id=str(operation)), id=snapshot):
                if operation in self.operations:
                    self.snapshots.add(snapshot)

    def has(self, event: Event) -> bool:
        """Whether the event is of one of them."""
        return any(tenant == self.tenant and id in self._ids(entity) for entity, tenant, id in _entities(event))

    def _ids(self, entity: Entity) -> set[str]:
        match entity:
            case "restore_run":
                return {self.run}
            case "operation_run":
                return self.operations
            case "evidence_snapshot":
                return self.snapshots


def _entities(event: Event) -> Iterable[tuple[Entity, str, str]]:
    match event:
        case Changed() | Deleted():
            yield event.entity, event.tenant_id, event.id
        case Rejected(marks=Mark() as mark):
            yield mark.entity, mark.tenant_id, mark.id


@dataclass(frozen=True, slots=True)
class Selection:
    """Which records are meant. `bearing`: those that bear on a run; else all of `tenant`, if one is named."""

    decode: Callable[[Record], Event]
    tenant: str | None = None
    bearing: Bearing | None = None

    def wants(self, record: Record) -> bool:
        if self.tenant is not None and record.key != self.tenant.encode():
            return False
        return self.bearing is None or self.bearing.has(self.decode(record))
