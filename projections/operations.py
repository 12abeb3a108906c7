"""An operation run's events, and how its record is kept: the place where runs, snapshots and marks meet."""

from __future__ import annotations

from contracts.events import Deleted
from contracts.facts import OperationRun
from projections.deciding import decide_all_again
from projections.effects import Cause, Effects
from projections.record import Key, OperationRecord
from projections.workspace import Workspace


def change_operation(workspace: Workspace, effects: Effects, operation: OperationRun, cause: Cause) -> None:
    record = workspace.operation(operation.tenant_id, operation.id) or OperationRecord()
    record.operation = operation
    _operation_applied(workspace, effects, operation.tenant_id, operation.id, record, cause)


def delete_operation(workspace: Workspace, effects: Effects, event: Deleted, cause: Cause) -> None:
    record = workspace.operation(event.tenant_id, event.id) or OperationRecord()
    last = record.operation or OperationRun(event.id, event.tenant_id, None)
    record.operation = last._replace(deleted=True, sequence=event.sequence, source=event.source)
    record.due = None  # a newer deletion is remembered from now on
    _operation_applied(workspace, effects, event.tenant_id, event.id, record, cause)


def _operation_applied(
    workspace: Workspace, effects: Effects, tenant: str, id: str, record: OperationRecord, cause: Cause
) -> None:
    record.unreadable.discard(f"operation_run/{id}")
    put_operation(workspace, tenant, id, record)
    decide_all_again(workspace, effects, tenant, record.runs, cause)


def put_operation(workspace: Workspace, tenant: str, id: str, record: OperationRecord) -> None:
    """Write an operation's record, remove it if nothing is left in it, and set the end of a deletion's memory.

    A deletion is remembered as long as a run names the operation, then for the set time; one whose newer
    event could not be read, until one can be.
    """
    deleted = record.operation is not None and record.operation.deleted
    if not deleted or record.runs or record.unreadable:
        record.due = None
    elif record.due is None:
        record.due = workspace.stream_time + workspace.deletion_memory_ms
    workspace.put(Key("operation", tenant, id), None if record.is_empty else record)
