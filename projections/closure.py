"""Which stored records an input may touch: what has to be read before it is applied.

Records name each other (a run its operation, an operation its runs, a snapshot its operation), so what is needed
is found by following names from the event until nothing new turns up: a few reads, whatever the number of inputs, since
a batch's inputs are followed together. Names that arise only within the batch lead to records that the event which
made them has asked for already, so what is needed at the start of a batch is enough to its end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from contracts.commands import Forget, Recompute
from contracts.events import Changed, Deleted, Event, Mark, Rejected
from contracts.facts import EvidenceSnapshot, RestoreRun
from projections.record import Key, OperationRecord, Record, RunRecord, SnapshotRecord
from projections.workspace import Workspace


def starting_keys(event: Event | Recompute | Forget) -> Iterator[Key]:
    """The keys that an event names itself."""
    match event:
        case Changed():
            yield from _entity_keys(event)
            if isinstance(event.facts, RestoreRun | EvidenceSnapshot) and event.facts.operation_run_id is not None:
                yield Key("operation", event.tenant_id, event.facts.operation_run_id)
        case Deleted():
            yield from _entity_keys(event)
        case Rejected(marks=Mark() as mark):
            yield from _entity_keys(mark)
        case Recompute():
            yield Key("run", event.tenant_id, event.id)
        case Forget():
            yield Key(event.kind, event.tenant_id, event.id)
        case _:
            pass


def read_closure(
    workspace: Workspace, keys: Iterable[Key], read: Callable[[list[Key]], Iterable[Record | None]], limit: int
) -> bool:
    """Load `keys` and all that hangs on them into a workspace; `read` gives the records of keys.

    Stops and returns False when more than `limit` records would be needed; the workspace is of no use then.
    """
    loaded = 0
    frontier = [key for key in dict.fromkeys(keys) if not workspace.knows(key)]
    while frontier:
        loaded += len(frontier)
        if loaded > limit:
            return False
        for key, record in zip(frontier, read(frontier), strict=True):
            workspace.load(key, record)
        named = dict.fromkeys(name for key in frontier for name in named_by(workspace, key))
        frontier = [key for key in named if not workspace.knows(key)]
    return True


def _entity_keys(event: Changed | Deleted | Mark) -> Iterator[Key]:
    match event.entity:
        case "restore_run":
            yield Key("run", event.tenant_id, event.id)
            yield Key("deleted-run", event.tenant_id, event.id)
        case "operation_run":
            yield Key("operation", event.tenant_id, event.id)
        case "evidence_snapshot":
            yield Key("snapshot", event.tenant_id, event.id)


def named_by(workspace: Workspace, key: Key) -> Iterator[Key]:
    """The keys of records that a record of the workspace names, less snapshots: those an event names itself."""
    match workspace.find(key):
        case RunRecord(run=RestoreRun(operation_run_id=str(id))):
            yield Key("operation", key.tenant, id)
        case OperationRecord(runs=runs):
            yield from (Key("run", key.tenant, id) for id in runs)
        case SnapshotRecord(operation_run_id=str(id)):
            yield Key("operation", key.tenant, id)
        case _:
            pass
