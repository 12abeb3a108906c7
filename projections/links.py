"""Links must be the same from both ends: what a lost, an old or a foreign record breaks first."""

from __future__ import annotations

from collections.abc import Iterator

from projections.record import Key, OperationRecord, RunRecord, SnapshotRecord
from projections.workspace import Workspace


def contradictions(workspace: Workspace) -> Iterator[tuple[Key, str]]:
    """Records of a workspace that name one which does not name them, and in words what is wrong.

    What the records name must be known to the workspace, but for snapshots, of which those that are known count.
    """
    for key in workspace.existing():
        record = workspace.find(key)
        if isinstance(record, OperationRecord):
            yield from ((key, what) for what in _of_operation(workspace, key, record))
        elif isinstance(record, RunRecord) and record.run.operation_run_id is not None:
            operation = workspace.operation(key.tenant, record.run.operation_run_id)
            if operation is None or key.id not in operation.runs:
                yield key, f"run {key} names operation {record.run.operation_run_id}, which does not"
        elif isinstance(record, SnapshotRecord) and record.kept and record.operation_run_id is not None:
            operation = workspace.operation(key.tenant, record.operation_run_id)
            if operation is None or key.id not in operation.snapshots:
                yield key, f"{key} is kept by operation {record.operation_run_id}, which does not"


def _of_operation(workspace: Workspace, key: Key, operation: OperationRecord) -> Iterator[str]:
    for id in operation.runs:
        run = workspace.run(key.tenant, id)
        if run is None or run.run.operation_run_id != key.id:
            yield f"{key} names run {id}, which does not name it"
    for id in operation.snapshots:
        place = Key("snapshot", key.tenant, id)
        if workspace.knows(place):
            snapshot = workspace.snapshot(key.tenant, id)
            if snapshot is None or not snapshot.kept or snapshot.operation_run_id != key.id:
                yield f"{key} keeps snapshot {id}, which is not there"
