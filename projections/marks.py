"""An entity's newest event could not be read: the runs that it bears on say so until a readable one is applied.

A run's own mark is in its record. An operation's and its snapshots' are in the operation's, so that they reach runs
that link to it later (interfaces, section 7).
"""

from __future__ import annotations

from contracts.events import Mark
from projections.deciding import decide_again, decide_all_again
from projections.effects import Cause, Effects
from projections.operations import put_operation
from projections.record import Key, OperationRecord
from projections.workspace import Workspace


def mark_entity(workspace: Workspace, effects: Effects, mark: Mark, cause: Cause) -> None:
    """Mark the entity that an unreadable event was about; once it is marked, nothing happens."""
    if mark.entity != "restore_run":
        _mark_operation(workspace, effects, mark, cause)
        return
    record = workspace.run(mark.tenant_id, mark.id)
    if record is not None and not record.marked:
        record.marked = True
        effects.counts["marked"] += 1
        decide_again(workspace, effects, record, cause)


def _mark_operation(workspace: Workspace, effects: Effects, mark: Mark, cause: Cause) -> None:
    """Mark an operation, or a snapshot with the operation where it was last; a snapshot never seen bears on nothing."""
    operation_id: str | None = mark.id
    if mark.entity == "evidence_snapshot":
        snapshot = workspace.snapshot(mark.tenant_id, mark.id)
        operation_id = None if snapshot is None else snapshot.operation_run_id
        if snapshot is not None and operation_id is not None and not snapshot.kept:
            snapshot.due = None
            workspace.put(Key("snapshot", mark.tenant_id, mark.id), snapshot)
    if operation_id is None:
        return
    operation = workspace.operation(mark.tenant_id, operation_id) or OperationRecord()
    name = f"{mark.entity}/{mark.id}"
    if name in operation.unreadable:
        return
    operation.unreadable.add(name)
    effects.counts["marked"] += 1
    put_operation(workspace, mark.tenant_id, operation_id, operation)
    decide_all_again(workspace, effects, mark.tenant_id, operation.runs, cause)
