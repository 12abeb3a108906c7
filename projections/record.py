"""What is kept between two events: the records of the store, and their bytes.

Four kinds, each a key of one of the two compacted topics and a string in Redis (interfaces, sections 2 and 8):

    run           <tenant>/<run>               the state document; the run's facts are inside it
    deleted-run   deleted-run/<tenant>/<run>   what must outlive a deleted run: its sequence and revision
    operation     operation/<tenant>/<id>      an operation's facts, the runs that name it, its kept snapshots
    snapshot      snapshot/<tenant>/<id>       where a snapshot is now, and its sequence

An operation's record is the place where things meet: runs and snapshots may come before the operation, and no run
ever has to be searched for. Facts have one home each: a run's in its document, an operation's and its kept snapshots'
in the operation's record. A document repeats the latter two, but they are never read back from there.

`due` is the record's deadline in stream time, if it has one: a kept snapshot's is its expiry, a deletion's the
end of its memory. So the store's index of deadlines follows from the records alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

from contracts.decision import State, decode, encode
from contracts.facts import (
    EvidenceSnapshot,
    OperationRun,
    RestoreRun,
    operation_from_json,
    operation_to_json,
    run_from_json,
    snapshot_from_json,
    snapshot_to_json,
)
from contracts.ids import internal_key, run_key
from contracts.times import parse_time
from projections.formats import DOCUMENT, INTERNAL, Value, upgraded

Kind = Literal["run", "deleted-run", "operation", "snapshot"]
INTERNAL_KINDS: Final[tuple[Kind, ...]] = ("deleted-run", "operation", "snapshot")

MAX_LINKS: Final = 1000
"""Runs that may name one operation (interfaces, section 4): one operation event decides them all again."""
MAX_SNAPSHOTS: Final = 20
"""Snapshots that an operation keeps (interfaces, section 4)."""
DELETION_MEMORY_MS: Final = 30 * 24 * 3600 * 1000
"""How long a deletion is remembered in stream time by default (interfaces, section 4): longer than a redelivery."""


class Key(NamedTuple):
    """The name of a stored record: what it is of, whose, which. A tuple, since it is hashed more than anything else."""

    kind: Kind
    tenant: str
    id: str

    def __str__(self) -> str:
        """The record's key in Kafka."""
        return run_key(self.tenant, self.id) if self.kind == "run" else internal_key(self.kind, self.tenant, self.id)


@dataclass(slots=True)
class Transition:
    """One entry of a run's timeline."""

    revision: int
    state: State
    changed_at: int


@dataclass(slots=True)
class RunRecord:
    """A run that exists. `marked`: its own newest event could not be read."""

    run: RestoreRun
    marked: bool
    revision: int
    state: State | None
    previous_state: State | None
    timeline: list[Transition]
    changed_at: int
    updated_at: int
    stored: dict[str, Any] | None = None
    """The document as it was read from the store, until something is applied to the run."""


@dataclass(slots=True)
class DeletedRun:
    """What is remembered of a run that was deleted; revision 0: it was never known, no sequence: it was forgotten."""

    sequence: int | None
    revision: int
    changed_at: int
    updated_at: int


@dataclass(slots=True)
class OperationRecord:
    """An operation and what hangs on it; `operation` is None while only links, snapshots or marks are known.

    `unreadable` names, as `<entity>/<id>`, the operation and those of its snapshots whose newest event could not be
    read.
    """

    operation: OperationRun | None = None
    runs: set[str] = field(default_factory=set)
    snapshots: dict[str, EvidenceSnapshot] = field(default_factory=dict)
    unreadable: set[str] = field(default_factory=set)
    due: int | None = None

    @property
    def is_empty(self) -> bool:
        return self.operation is None and not (self.runs or self.snapshots or self.unreadable)


@dataclass(slots=True)
class SnapshotRecord:
    """Where a snapshot is: with which operation it was last seen, and whether that operation keeps it.

    Not kept are deleted ones, those that fell out, and those of no operation. No sequence: it was forgotten.
    """

    sequence: int | None
    operation_run_id: str | None
    kept: bool
    deleted: bool = False
    due: int | None = None


InternalRecord = DeletedRun | OperationRecord | SnapshotRecord
Record = RunRecord | InternalRecord


def own_mark(run_id: str) -> str:
    """How a run's own mark is named in `diagnostics.inputs.unreadable`."""
    return f"restore_run/{run_id}"


def decode_record(key: Key, data: bytes) -> Record:
    """A stored record from its bytes, of whatever format up to ours.

    Raises KeyError, TypeError or ValueError if they are none of ours, NewerFormat if they are a newer version's.
    """
    stored = decode(data)
    if key.kind == "run":
        return _run_from_json(stored, upgraded(DOCUMENT, stored))
    value = upgraded(INTERNAL, stored)
    match key.kind:
        case "deleted-run":
            return DeletedRun(value["sequence"], value["revision"], value["changed_at"], value["updated_at"])
        case "operation":
            return _operation_record_from_json(value)
        case "snapshot":
            return SnapshotRecord(
                value["sequence"], value["operation_run_id"], value["kept"], value["deleted"], value["due"]
            )


def _run_from_json(stored: dict[str, Any], value: Value) -> RunRecord:
    inputs = value["diagnostics"]["inputs"]
    run = run_from_json(inputs["restore_run"])
    return RunRecord(
        run=run,
        marked=own_mark(run.id) in inputs["unreadable"],
        revision=value["revision"],
        state=value["state"],
        previous_state=value["previous_state"],
        timeline=[Transition(t["revision"], t["state"], parse_time(t["changed_at"])) for t in value["timeline"]],
        changed_at=parse_time(value["changed_at"]),
        updated_at=parse_time(value["updated_at"]),
        stored=stored,
    )


def _operation_record_from_json(value: dict[str, Any]) -> OperationRecord:
    operation = value["operation"]
    snapshots = (snapshot_from_json(s) for s in value["snapshots"])
    return OperationRecord(
        operation=None if operation is None else operation_from_json(operation),
        runs=set(value["runs"]),
        snapshots={s.id: s for s in snapshots},
        unreadable=set(value["unreadable"]),
        due=value["due"],
    )


def encode_internal(record: InternalRecord) -> bytes:
    """The bytes of an internal record, for the internal topic and the store alike."""
    value = _internal_to_json(record)
    return encode(value if INTERNAL.present == 1 else {"format": INTERNAL.present, **value})


def _internal_to_json(record: InternalRecord) -> dict[str, Any]:
    match record:
        case DeletedRun():
            return {
                "sequence": record.sequence,
                "revision": record.revision,
                "changed_at": record.changed_at,
                "updated_at": record.updated_at,
                "due": None,
            }
        case OperationRecord():
            operation = record.operation
            return {
                "operation": None if operation is None else operation_to_json(operation),
                "runs": sorted(record.runs),
                "snapshots": [snapshot_to_json(record.snapshots[id]) for id in sorted(record.snapshots)],
                "unreadable": sorted(record.unreadable),
                "due": record.due,
            }
        case SnapshotRecord():
            return {
                "sequence": record.sequence,
                "operation_run_id": record.operation_run_id,
                "kept": record.kept,
                "deleted": record.deleted,
                "due": record.due,
            }
