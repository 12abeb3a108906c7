"""What operators have forgotten (`restore-projector forget`): of one stored record its sequence, or everything.

*The sequence*, for a source that was restored from a backup and counts anew from where it was: all it sends would be
stale. What is known stays, and the next event of the entity is newer whatever its own sequence. A document shows each
fact's sequence, so every run that has the fact takes a revision, as two documents of one revision would not be equal.
Its state stays; should newer rules have another one for it, that is a change of origin recompute.

*Everything*, for a tenant who has left: the record is as if it had never been. Links are kept from both ends, so in
whatever order a tenant's records are forgotten, what is left of them fits together: an operation that runs still name
is one that was not seen yet. Nothing is remembered, so what comes back begins at revision 1. A run that goes this way
is removed as by a deletion: with one more revision, a tombstone, and a change to no state.

All of it has the origin recompute: it is an operator's work, and wakes nobody.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from contracts.commands import Forget, ForgetKind, ForgetWhat
from contracts.facts import Entity
from projections.deciding import decide_again, decide_all_again
from projections.effects import Cause, Effects
from projections.operations import put_operation
from projections.record import Key
from projections.runs import remove_run
from projections.snapshots import take_out
from projections.workspace import Workspace

ENTITY: Final[dict[ForgetKind, Entity]] = {
    "run": "restore_run",
    "deleted-run": "restore_run",
    "operation": "operation_run",
    "snapshot": "evidence_snapshot",
}
"""What the records of each kind are about."""


def forget(workspace: Workspace, effects: Effects, order: Forget, at: int) -> bool:
    """Carry out an order given at this time, in ms; returns whether there was anything to forget."""
    cause = Cause(ENTITY[order.kind], order.id, None, at, "recompute", order.traceparent)
    return _RULES[order.what, order.kind](workspace, effects, Key(order.kind, order.tenant_id, order.id), cause)


# The sequence


def _sequence_of_run(workspace: Workspace, effects: Effects, key: Key, cause: Cause) -> bool:
    record = workspace.run(key.tenant, key.id)
    if record is None or record.run.sequence is None:
        return False
    record.run = record.run._replace(sequence=None)
    decide_again(workspace, effects, record, cause)
    return True


def _sequence_of_deleted_run(workspace: Workspace, _: Effects, key: Key, __: Cause) -> bool:
    gone = workspace.deleted_run(key.tenant, key.id)
    if gone is None or gone.sequence is None:
        return False
    gone.sequence = None
    workspace.put(key, gone)
    return True


def _sequence_of_operation(workspace: Workspace, effects: Effects, key: Key, cause: Cause) -> bool:
    record = workspace.operation(key.tenant, key.id)
    if record is None or record.operation is None or record.operation.sequence is None:
        return False
    record.operation = record.operation._replace(sequence=None)
    put_operation(workspace, key.tenant, key.id, record)
    decide_all_again(workspace, effects, key.tenant, record.runs, cause)
    return True


def _sequence_of_snapshot(workspace: Workspace, effects: Effects, key: Key, cause: Cause) -> bool:
    record = workspace.snapshot(key.tenant, key.id)
    if record is None or record.sequence is None:
        return False
    record.sequence = None
    workspace.put(key, record)
    if record.kept:
        assert record.operation_run_id is not None
        operation = workspace.operation(key.tenant, record.operation_run_id)
        assert operation is not None, "a kept snapshot is in its operation's record"
        operation.snapshots[key.id] = operation.snapshots[key.id]._replace(sequence=None)
        put_operation(workspace, key.tenant, record.operation_run_id, operation)
        decide_all_again(workspace, effects, key.tenant, operation.runs, cause)
    return True


# Everything


def _run(workspace: Workspace, effects: Effects, key: Key, cause: Cause) -> bool:
    record = workspace.run(key.tenant, key.id)
    if record is None:
        return False
    remove_run(workspace, effects, record, cause)
    return True


def _deleted_run(workspace: Workspace, _: Effects, key: Key, __: Cause) -> bool:
    if workspace.deleted_run(key.tenant, key.id) is None:
        return False
    workspace.put(key, None)
    return True


def _operation(workspace: Workspace, effects: Effects, key: Key, cause: Cause) -> bool:
    """Only what is known of the operation itself: links go with their runs, snapshots and their marks with those."""
    record = workspace.operation(key.tenant, key.id)
    mark = f"operation_run/{key.id}"
    if record is None or (record.operation is None and mark not in record.unreadable):
        return False
    record.operation = None
    record.unreadable.discard(mark)
    put_operation(workspace, key.tenant, key.id, record)
    decide_all_again(workspace, effects, key.tenant, record.runs, cause)
    return True


def _snapshot(workspace: Workspace, effects: Effects, key: Key, cause: Cause) -> bool:
    if workspace.snapshot(key.tenant, key.id) is None:
        return False
    touched = take_out(workspace, key.tenant, key.id)
    workspace.put(key, None)
    decide_all_again(workspace, effects, key.tenant, touched, cause)
    return True


_Rule = Callable[[Workspace, Effects, Key, Cause], bool]
_RULES: Final[dict[tuple[ForgetWhat, ForgetKind], _Rule]] = {
    ("sequence", "run"): _sequence_of_run,
    ("sequence", "deleted-run"): _sequence_of_deleted_run,
    ("sequence", "operation"): _sequence_of_operation,
    ("sequence", "snapshot"): _sequence_of_snapshot,
    ("everything", "run"): _run,
    ("everything", "deleted-run"): _deleted_run,
    ("everything", "operation"): _operation,
    ("everything", "snapshot"): _snapshot,
}
