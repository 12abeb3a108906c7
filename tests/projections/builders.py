"""One-line builders of inputs, and a fold to look at.

Without arguments they tell of a restore that went well: rr-1 of t-1 is completed by op-1, of which es-1 is current
evidence. A test names only what it is about. Moments (`at`, `expires`, `generated`) are seconds after START; an input's
`at` is its record's timestamp. Sources, the places in Kafka, follow from sequence and moment, so that an event
stays the same wherever a test puts it; `placed` gives it another place.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, cast

from contracts.commands import Forget, ForgetKind, ForgetWhat, Recompute
from contracts.decision import Origin, decode, encode
from contracts.events import IGNORED, Changed, Deleted, Mark, Record, Rejected
from contracts.facts import Counts, Entity, EvidenceSnapshot, OperationRun, RestoreRun, Source
from contracts.letters import Reason
from contracts.times import parse_time
from contracts.topics import Topics
from projections.advance import Effects, Input, Outcome, advance, advance_time, current_document
from projections.record import DeletedRun, Key, OperationRecord, RunRecord, SnapshotRecord, encode_internal
from projections.workspace import Workspace

TOPICS: Final = Topics()
TOPIC: Final[dict[Entity, str]] = {entity: topic for topic, entity in TOPICS.entities.items()}
START: Final = parse_time("2026-11-01T10:00:00Z")
DAY: Final = 24 * 3600
"""In seconds, as moments are."""
ALL_SUCCEEDED: Final = Counts(12, 12, 0, 0, 0, 0)
TRACEPARENT: Final = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def ms(at: float | None) -> int | None:
    """A moment in milliseconds since the epoch; None stays None."""
    return None if at is None else START + round(at * 1000)


def _ms(at: float) -> int:
    return START + round(at * 1000)


def _record(topic: str, tenant: str, sequence: int | None, at: float, value: str | None) -> Record:
    """A record; what it says was decoded already, so its value only has to tell it from others."""
    return Record(topic, 0, sequence or 0, _ms(at), tenant.encode(), None if value is None else value.encode())


def _changed(
    facts: RestoreRun | OperationRun | EvidenceSnapshot,
    entity: Entity,
    at: float,
    origin: Origin,
    traceparent: str | None,
) -> Input:
    assert facts.sequence is not None
    record = _record(TOPIC[entity], facts.tenant_id, facts.sequence, at, f"{facts.id} {facts.status}")
    source = Source(record.topic, record.partition, record.offset, record.timestamp)
    facts = facts._replace(source=source)
    event = Changed(entity, facts.tenant_id, facts.id, cast(int, facts.sequence), facts, source, traceparent)
    return Input(event, record.timestamp, record, origin)


def run(
    sequence: int = 1,
    status: Any = "completed",
    *,
    id: str = "rr-1",
    op: str | None = "op-1",
    tenant: str = "t-1",
    at: float = 0,
    origin: Origin = "live",
    traceparent: str | None = None,
    **fields: Any,
) -> Input:
    """A restore run's event: completed, 12 of 12 items, by op-1."""
    defaults = {"is_dry_run": False, "operation_run_id": op, "counts": ALL_SUCCEEDED, "sequence": sequence}
    return _changed(RestoreRun(id, tenant, status, **(defaults | fields)), "restore_run", at, origin, traceparent)


def operation(
    sequence: int = 1,
    status: Any = "completed",
    outcome: Any = "succeeded",
    *,
    id: str = "op-1",
    tenant: str = "t-1",
    at: float = 0,
    completed: float | None = 0,
    origin: Origin = "live",
    traceparent: str | None = None,
) -> Input:
    """An operation run's event: completed and succeeded at START."""
    completed_at = ms(completed) if status == "completed" else None
    facts = OperationRun(id, tenant, status, outcome, completed_at=completed_at, sequence=sequence)
    return _changed(facts, "operation_run", at, origin, traceparent)


def snapshot(
    sequence: int = 1,
    status: Any = "active",
    *,
    id: str = "es-1",
    op: str | None = "op-1",
    tenant: str = "t-1",
    at: float = 0,
    generated: float | None = 1,
    expires: float | None = None,
    origin: Origin = "live",
    traceparent: str | None = None,
) -> Input:
    """An evidence snapshot's event: active, of op-1, generated a second after its completion, without expiry."""
    facts = EvidenceSnapshot(
        id,
        tenant,
        status,
        operation_run_id=op,
        generated_at=ms(generated),
        expires_at=ms(expires),
        sequence=sequence,
    )
    return _changed(facts, "evidence_snapshot", at, origin, traceparent)


ID: Final[dict[Entity, str]] = {"restore_run": "rr-1", "operation_run": "op-1", "evidence_snapshot": "es-1"}


def deleted(
    entity: Entity = "restore_run",
    sequence: int = 9,
    *,
    id: str | None = None,
    tenant: str = "t-1",
    at: float = 0,
    origin: Origin = "live",
    traceparent: str | None = None,
) -> Input:
    """A deletion of the entity that the other builders make."""
    record = _record(TOPIC[entity], tenant, sequence, at, f"{id or ID[entity]} deleted")
    source = Source(record.topic, record.partition, record.offset, record.timestamp)
    event = Deleted(entity, tenant, id or ID[entity], sequence, source, traceparent)
    return Input(event, record.timestamp, record, origin)


def unreadable(
    entity: Entity = "restore_run",
    sequence: int | None = 9,
    *,
    id: str | None = None,
    tenant: str = "t-1",
    at: float = 0,
    origin: Origin = "live",
    traceparent: str | None = None,
) -> Input:
    """An event of that entity which could not be read, but for entity, id and, unless None, sequence."""
    record = _record(TOPIC[entity], tenant, sequence, at, f"{id or ID[entity]} unreadable")
    reason: Reason = "missing_sequence" if sequence is None else "schema_violation"
    mark = Mark(entity, tenant, id or ID[entity], sequence)
    return Input(Rejected(reason, "expected this, got that", mark, traceparent), record.timestamp, record, origin)


def rejected(reason: Reason = "not_json", *, entity: Entity = "restore_run", at: float = 0) -> Input:
    """A record that is no event and names no entity."""
    record = _record(TOPIC[entity], "t-1", None, at, reason)
    return Input(Rejected(reason, "expected this, got that"), record.timestamp, record)


def null(entity: Entity = "restore_run", *, at: float = 0) -> Input:
    """A record without a value."""
    record = _record(TOPIC[entity], "t-1", None, at, None)
    return Input(IGNORED, record.timestamp, record)


def recompute(id: str = "rr-1", *, tenant: str = "t-1", at: float = 0, traceparent: str | None = None) -> Input:
    """An operator's order to decide a run again."""
    record = _record(TOPICS.ops, tenant, None, at, f"{id} recompute")
    return Input(Recompute(tenant, id, traceparent), record.timestamp, record)


FORGET_ID: Final[dict[ForgetKind, str]] = {
    "run": "rr-1",
    "deleted-run": "rr-1",
    "operation": "op-1",
    "snapshot": "es-1",
}


def forget(
    kind: ForgetKind = "run",
    what: ForgetWhat = "sequence",
    *,
    id: str | None = None,
    tenant: str = "t-1",
    at: float = 0,
    traceparent: str | None = None,
) -> Input:
    """An operator's order to forget of the entity that the other builders make."""
    id = id or FORGET_ID[kind]
    record = _record(TOPICS.ops, tenant, None, at, f"{id} forget {what} of {kind}")
    return Input(Forget(tenant, kind, id, what, traceparent), record.timestamp, record)


def placed(input: Input, offset: int, at: float) -> Input:
    """The same input at another offset of its topic and another moment; its facts name that as their source."""
    record = input.record._replace(offset=offset, timestamp=_ms(at))
    event = input.event
    if isinstance(event, Changed | Deleted):
        event = event._replace(source=event.source._replace(offset=offset, timestamp=record.timestamp))
        if isinstance(event, Changed):
            event = event._replace(facts=event.facts._replace(source=event.source))
    return input._replace(event=event, at=record.timestamp, record=record)


def restore_that_went_well() -> tuple[Input, ...]:
    """A run, its operation, its evidence: shown as completed with evidence at revision 3."""
    return run(), operation(), snapshot()


class Fold:
    """A whole history in memory, as tests look at it. `present` is the worker's clock, a moment; None: later than all.

    Moments are seconds after START, as in the builders.
    """

    def __init__(self, *inputs: Input, present: float | None = None) -> None:
        self.workspace = Workspace(complete=True)
        self.effects = Effects()
        self.present = 2**60 if present is None else _ms(present)
        self.take(*inputs)

    def take(self, *inputs: Input) -> list[Outcome]:
        """Apply inputs in this order; returns how each ended."""
        return [advance(self.workspace, self.effects, input, self.present) for input in inputs]

    def pass_time(self, at: float) -> None:
        """Let stream time reach a moment, as in an idle partition."""
        advance_time(self.workspace, self.effects, _ms(at))

    @property
    def stream_time(self) -> float:
        return (self.workspace.stream_time - START) / 1000

    # What is published

    def document(self, id: str = "rr-1", *, tenant: str = "t-1") -> dict[str, Any]:
        """A run's state document, read back from its bytes."""
        record = self.workspace.run(tenant, id)
        assert record is not None, f"{id} does not exist"
        return decode(encode(current_document(self.workspace, record)))

    def exists(self, id: str = "rr-1", *, tenant: str = "t-1") -> bool:
        return self.workspace.run(tenant, id) is not None

    def revision(self, id: str = "rr-1") -> int:
        revision: int = self.document(id)["revision"]
        return revision

    def state(self, id: str = "rr-1") -> str:
        state: str = self.document(id)["state"]
        return state

    def inputs(self, id: str = "rr-1") -> dict[str, Any]:
        """The facts in a run's document."""
        inputs: dict[str, Any] = self.document(id)["diagnostics"]["inputs"]
        return inputs

    def evidence(self, id: str = "rr-1") -> list[str]:
        """The ids of the snapshots in a run's document."""
        return [s["id"] for s in self.inputs(id)["evidence_snapshots"]]

    def unreadable(self, id: str = "rr-1") -> list[str]:
        """The entities whose newest event could not be read, in a run's document."""
        names: list[str] = self.inputs(id)["unreadable"]
        return names

    @property
    def changes(self) -> list[dict[str, Any]]:
        """The published state changes, in order."""
        return [change.body for change in self.effects.changes]

    @property
    def last_change(self) -> dict[str, Any]:
        return self.changes[-1]

    @property
    def letters(self) -> list[tuple[Record, str]]:
        """The dead letters' records and reasons."""
        return [(letter.record, letter.reason) for letter in self.effects.letters]

    def count(self, what: str) -> int:
        """How often something happened: decided, expired, forgotten, evicted, marked."""
        return self.effects.counts[what]

    # What is stored

    def run(self, id: str = "rr-1", *, tenant: str = "t-1") -> RunRecord | None:
        return self.workspace.run(tenant, id)

    def deleted_run(self, id: str = "rr-1", *, tenant: str = "t-1") -> DeletedRun | None:
        return self.workspace.deleted_run(tenant, id)

    def operation(self, id: str = "op-1", *, tenant: str = "t-1") -> OperationRecord | None:
        return self.workspace.operation(tenant, id)

    def snapshot(self, id: str = "es-1", *, tenant: str = "t-1") -> SnapshotRecord | None:
        return self.workspace.snapshot(tenant, id)

    def stored(self) -> dict[Key, bytes]:
        """Every record that exists, in the bytes of the store."""
        return {key: self._bytes(key) for key in self.workspace.existing()}

    def _bytes(self, key: Key) -> bytes:
        record = self.workspace.find(key)
        assert record is not None
        if isinstance(record, RunRecord):
            return encode(current_document(self.workspace, record))
        return encode_internal(record)


def folded(inputs: Iterable[Input]) -> Fold:
    return Fold(*inputs)
