"""An evidence snapshot's events: it moves between operations, falls out of a full one, expires, is deleted."""

from __future__ import annotations

from contracts.events import Deleted
from contracts.facts import EvidenceSnapshot
from projections.deciding import decide_all_again
from projections.effects import Cause, Effects
from projections.evidence import is_current
from projections.operations import put_operation
from projections.record import MAX_SNAPSHOTS, Key, OperationRecord, SnapshotRecord
from projections.workspace import Workspace


def change_snapshot(workspace: Workspace, effects: Effects, snapshot: EvidenceSnapshot, cause: Cause) -> None:
    tenant, id, target = snapshot.tenant_id, snapshot.id, snapshot.operation_run_id
    touched = take_out(workspace, tenant, id)
    workspace.put(Key("snapshot", tenant, id), SnapshotRecord(cause.sequence, target, kept=False))
    if target is not None:
        touched |= _put_in(workspace, effects, snapshot, target)
    decide_all_again(workspace, effects, tenant, touched, cause)


def _put_in(workspace: Workspace, effects: Effects, snapshot: EvidenceSnapshot, target: str) -> set[str]:
    """Put a snapshot into its operation, which may have to drop one for it; returns the runs that this bears on."""
    tenant, id = snapshot.tenant_id, snapshot.id
    snapshot = snapshot._replace(expired=_is_past(snapshot, workspace.stream_time))
    operation = workspace.operation(tenant, target) or OperationRecord()
    operation.snapshots[id] = snapshot
    fallen = _fall_out(operation)
    if fallen is not None:
        effects.counts["evicted"] += 1
        _remember_fallen(workspace, fallen, target, operation)
    put_operation(workspace, tenant, target, operation)
    if id not in operation.snapshots:
        return set()
    record = SnapshotRecord(snapshot.sequence, target, kept=True, due=_expiry(snapshot))
    workspace.put(Key("snapshot", tenant, id), record)
    return set(operation.runs)


def delete_snapshot(workspace: Workspace, effects: Effects, event: Deleted, cause: Cause) -> None:
    touched = take_out(workspace, event.tenant_id, event.id)
    before = workspace.snapshot(event.tenant_id, event.id)
    record = SnapshotRecord(
        event.sequence,
        None if before is None else before.operation_run_id,
        kept=False,
        deleted=True,
        due=workspace.stream_time + workspace.deletion_memory_ms,
    )
    workspace.put(Key("snapshot", event.tenant_id, event.id), record)
    decide_all_again(workspace, effects, event.tenant_id, touched, cause)


def expire(workspace: Workspace, effects: Effects, due: int, key: Key, record: SnapshotRecord) -> None:
    assert record.operation_run_id is not None
    operation = workspace.operation(key.tenant, record.operation_run_id)
    assert operation is not None, "a kept snapshot is in its operation's record"
    operation.snapshots[key.id] = operation.snapshots[key.id]._replace(expired=True)
    put_operation(workspace, key.tenant, record.operation_run_id, operation)
    record.due = None
    workspace.put(key, record)
    effects.counts["expired"] += 1
    cause = Cause("evidence_snapshot", key.id, record.sequence, due, "deadline")
    decide_all_again(workspace, effects, key.tenant, operation.runs, cause)


def take_out(workspace: Workspace, tenant: str, id: str) -> set[str]:
    """Take a snapshot, and its mark, out of the operation where it was last; returns the runs that this bears on."""
    before = workspace.snapshot(tenant, id)
    if before is None or before.operation_run_id is None:
        return set()
    operation = workspace.operation(tenant, before.operation_run_id)
    mark = f"evidence_snapshot/{id}"
    if operation is None or not (id in operation.snapshots or mark in operation.unreadable):
        return set()
    operation.snapshots.pop(id, None)
    operation.unreadable.discard(mark)
    runs = set(operation.runs)
    put_operation(workspace, tenant, before.operation_run_id, operation)
    return runs


def _fall_out(operation: OperationRecord) -> EvidenceSnapshot | None:
    """Drop the least telling snapshot of too many: not current before current, then oldest, then smallest id."""
    if len(operation.snapshots) <= MAX_SNAPSHOTS:
        return None

    def telling(s: EvidenceSnapshot) -> tuple[bool, bool, int, str]:
        return (is_current(s, operation.operation), s.generated_at is not None, s.generated_at or 0, s.id)

    return operation.snapshots.pop(min(operation.snapshots.values(), key=telling).id)


def _remember_fallen(
    workspace: Workspace, fallen: EvidenceSnapshot, operation_id: str, operation: OperationRecord
) -> None:
    """What fell out is remembered like a deletion; with a mark, until a readable event takes the mark away."""
    marked = f"evidence_snapshot/{fallen.id}" in operation.unreadable
    due = None if marked else workspace.stream_time + workspace.deletion_memory_ms
    record = SnapshotRecord(fallen.sequence, operation_id, kept=False, due=due)
    workspace.put(Key("snapshot", fallen.tenant_id, fallen.id), record)


def _is_past(snapshot: EvidenceSnapshot, stream_time: int) -> bool:
    return snapshot.status == "active" and snapshot.expires_at is not None and snapshot.expires_at <= stream_time


def _expiry(snapshot: EvidenceSnapshot) -> int | None:
    """When a kept snapshot expires; only active ones do, and only once."""
    return None if snapshot.status != "active" or snapshot.expired else snapshot.expires_at
