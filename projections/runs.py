"""A restore run's events: its facts change, its link to an operation is kept from both ends, it is deleted."""

from __future__ import annotations

from typing import Final

from contracts.events import Deleted
from contracts.facts import RestoreRun
from projections.deciding import decide_again
from projections.effects import Cause, Effects, publish_change, trace
from projections.operations import put_operation
from projections.record import MAX_LINKS, DeletedRun, Key, OperationRecord, RunRecord
from projections.workspace import Workspace

NEVER: Final = 0
"""Before any record's timestamp: what a run's times are compared with at its first event."""


def link_refusal(workspace: Workspace, run: RestoreRun) -> str | None:
    """Why a run may not name the operation that it names; None if it may."""
    if run.operation_run_id is None:
        return None
    operation = workspace.operation(run.tenant_id, run.operation_run_id)
    if operation is None or run.id in operation.runs or len(operation.runs) < MAX_LINKS:
        return None
    return f"expected at most {MAX_LINKS} restore runs that name operation {run.operation_run_id}, got one more"


def change_run(workspace: Workspace, effects: Effects, run: RestoreRun, cause: Cause) -> None:
    record = workspace.run(run.tenant_id, run.id)
    if record is None:
        record = _new_run(workspace, run)
    elif record.run.operation_run_id not in (None, run.operation_run_id):
        _unlink(workspace, record.run)
    record.run = run
    record.marked = False
    if run.operation_run_id is not None:
        _link(workspace, run, run.operation_run_id)
    decide_again(workspace, effects, record, cause)


def _new_run(workspace: Workspace, run: RestoreRun) -> RunRecord:
    """A record for a run that has none; one that was deleted goes on counting, with an empty timeline."""
    gone = workspace.deleted_run(run.tenant_id, run.id)
    if gone is None:
        return RunRecord(run, False, 0, None, None, [], NEVER, NEVER)
    workspace.put(Key("deleted-run", run.tenant_id, run.id), None)
    return RunRecord(run, False, gone.revision, None, None, [], gone.changed_at, gone.updated_at)


def delete_run(workspace: Workspace, effects: Effects, event: Deleted, cause: Cause) -> None:
    record = workspace.run(event.tenant_id, event.id)
    if record is None:
        gone = workspace.deleted_run(event.tenant_id, event.id) or DeletedRun(0, 0, NEVER, NEVER)
        gone.sequence = event.sequence
    else:
        gone = remove_run(workspace, effects, record, cause)
        gone.sequence = event.sequence
    workspace.put(Key("deleted-run", event.tenant_id, event.id), gone)


def remove_run(workspace: Workspace, effects: Effects, record: RunRecord, cause: Cause) -> DeletedRun:
    """Take a run away, which is a change to no state; returns what may be remembered of it, without a sequence."""
    run = record.run
    if run.operation_run_id is not None:
        _unlink(workspace, run)
    at = max(record.updated_at, cause.at)
    gone = DeletedRun(None, record.revision + 1, at, at)
    key = Key("run", run.tenant_id, run.id)
    workspace.put(key, None)
    effects.removed[key] = gone.revision
    publish_change(effects, key, record.state, None, gone.revision, at, cause)
    trace(effects, key, cause)
    return gone


def _link(workspace: Workspace, run: RestoreRun, operation_id: str) -> None:
    operation = workspace.operation(run.tenant_id, operation_id) or OperationRecord()
    if run.id not in operation.runs:
        operation.runs.add(run.id)
        put_operation(workspace, run.tenant_id, operation_id, operation)


def _unlink(workspace: Workspace, run: RestoreRun) -> None:
    assert run.operation_run_id is not None
    operation = workspace.operation(run.tenant_id, run.operation_run_id)
    assert operation is not None, "a linked run's operation has a record"
    operation.runs.remove(run.id)
    put_operation(workspace, run.tenant_id, run.operation_run_id, operation)
