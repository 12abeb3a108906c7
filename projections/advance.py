"""One input applied to the records: the only place where stored facts change.

Every input ends in exactly one of four ways, which are counted: *applied*, *stale* (an event with a larger sequence was
there before), *ignored* (a null value) or a *dead letter*. What is applied bears on runs: on the run itself, on those
that name the operation, or on those whose operation keeps the snapshot. Each of them takes a revision and is decided
again, and if its state is another one now, that is a change.

Time is an input as well. Before a record is applied, the deadlines up to its timestamp fall, in order; so an evidence
expires between the records where it would have, however late they are read. Nothing here reads a clock or depends on
how inputs are cut into batches: the same inputs in the same order give the same documents, revisions and changes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from contracts.commands import Forget, Recompute
from contracts.decision import TIMELINE_LENGTH, Origin, State
from contracts.events import Changed, Deleted, Event, Ignored, Mark, Record, Rejected
from contracts.facts import Entity, EvidenceSnapshot, Facts, OperationRun, RestoreRun
from contracts.letters import Reason
from projections.evidence import is_current
from projections.output import state_change, state_document
from projections.record import (
    MAX_LINKS,
    MAX_SNAPSHOTS,
    DeletedRun,
    Key,
    OperationRecord,
    RunRecord,
    SnapshotRecord,
    Transition,
    own_mark,
)
from projections.rules import decide
from projections.workspace import Workspace

Outcome = Literal["applied", "stale", "ignored", "dead_letter"]


@dataclass(frozen=True, slots=True)
class Input:
    """An event at a place in merged order. `at`: the record's timestamp in ms; `record`: for a dead letter."""

    event: Event | Recompute | Forget
    at: int
    record: Record
    origin: Origin = "live"


@dataclass(frozen=True, slots=True)
class Change:
    """A state change to be published: of which run, the value, the trace that it belongs to."""

    key: Key
    body: dict[str, Any]
    traceparent: str | None


@dataclass(frozen=True, slots=True)
class Letter:
    """A record to be set aside, why, and what was expected and came."""

    record: Record
    reason: Reason
    detail: str


@dataclass(slots=True)
class Effects:
    """What applying inputs has brought forth beside changed records, in order."""

    changes: list[Change] = field(default_factory=list)
    letters: list[Letter] = field(default_factory=list)
    traceparents: dict[Key, str] = field(default_factory=dict)
    """Of each run's last cause, for its document's header."""
    counts: Counter[str] = field(default_factory=Counter)
    """decided, expired, forgotten, evicted, marked: how often each happened."""


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a run is decided again."""

    entity: Entity
    id: str
    sequence: int | None
    at: int
    origin: Origin
    traceparent: str | None = None


NEVER: Final = 0
"""Before any record's timestamp: what a run's times are compared with at its first event."""


def advance(workspace: Workspace, effects: Effects, input: Input, present: int) -> Outcome:
    """Apply one input; returns how it ended.

    `present`, in ms, bounds stream time: a record stamped in the future expires nothing.
    """
    time = min(input.at, present)
    advance_time(workspace, effects, time)
    event = input.event
    match event:
        case Changed() | Deleted():
            cause = Cause(event.entity, event.id, event.sequence, input.at, input.origin, event.traceparent)
            return _apply(workspace, effects, input, event, cause)
        case Ignored() | Forget():
            return "ignored"
        case Recompute():
            return _recompute(workspace, effects, event, input)
        case Rejected():
            _set_aside(effects, input.record, event.reason, event.detail)
            if event.marks is not None:
                _mark(workspace, effects, event.marks, input)
            return "dead_letter"


def advance_time(workspace: Workspace, effects: Effects, time: int) -> None:
    """Let stream time reach `time`, and let fall what is due until then; it never goes back."""
    time = max(time, workspace.stream_time)
    while (deadline := workspace.next_deadline(time)) is not None:
        _fall_due(workspace, effects, *deadline)
    workspace.stream_time = time


def facts_of(workspace: Workspace, record: RunRecord) -> Facts:
    """All that a run's decision depends on, from where each fact lives."""
    run = record.run
    unreadable = {own_mark(run.id)} if record.marked else set()
    if run.operation_run_id is None:
        return Facts(run, unreadable=tuple(sorted(unreadable)))
    operation = workspace.operation(run.tenant_id, run.operation_run_id)
    assert operation is not None, "a named operation has a record: the run's link is in it"
    return Facts(
        run=run,
        operation=operation.operation,
        evidence=tuple(operation.snapshots.values()),
        unreadable=tuple(sorted(unreadable | operation.unreadable)),
    )


def current_document(workspace: Workspace, record: RunRecord) -> dict[str, Any]:
    """The state document of a run as it stands."""
    facts = facts_of(workspace, record)
    return state_document(record, facts, decide(facts))


def _apply(workspace: Workspace, effects: Effects, input: Input, event: Changed | Deleted, cause: Cause) -> Outcome:
    """Apply an event unless it is stale or cannot be; returns how it ended."""
    deleted = isinstance(event, Deleted)
    if not _is_newer(event.sequence, *_stored_sequence(workspace, event), deleted=deleted):
        return "stale"
    if isinstance(event, Deleted):
        match event.entity:
            case "restore_run":
                _delete_run(workspace, effects, event, cause)
            case "operation_run":
                _delete_operation(workspace, effects, event, cause)
            case "evidence_snapshot":
                _delete_snapshot(workspace, effects, event, cause)
        return "applied"
    match event.facts:
        case RestoreRun() as run:
            if (refusal := _link_refusal(workspace, run)) is not None:
                _set_aside(effects, input.record, "too_many_links", refusal)
                return "dead_letter"
            _change_run(workspace, effects, run, cause)
        case OperationRun() as operation:
            _change_operation(workspace, effects, operation, cause)
        case EvidenceSnapshot() as snapshot:
            _change_snapshot(workspace, effects, snapshot, cause)
    return "applied"


def _is_newer(sequence: int, stored: int | None, stored_is_deletion: bool, *, deleted: bool) -> bool:
    """The larger sequence wins; a deletion also wins an equal one that is not a deletion (interfaces, section 4)."""
    if stored is None or sequence > stored:
        return True
    return sequence == stored and deleted and not stored_is_deletion


def _stored_sequence(workspace: Workspace, event: Changed | Deleted | Mark) -> tuple[int | None, bool]:
    """The sequence that an entity's last applied event had, and whether that was a deletion."""
    match event.entity:
        case "restore_run":
            if (run := workspace.run(event.tenant_id, event.id)) is not None:
                return run.run.sequence, False
            if (gone := workspace.deleted_run(event.tenant_id, event.id)) is not None:
                return gone.sequence, True
        case "operation_run":
            record = workspace.operation(event.tenant_id, event.id)
            if record is not None and record.operation is not None:
                return record.operation.sequence, record.operation.deleted
        case "evidence_snapshot":
            if (snapshot := workspace.snapshot(event.tenant_id, event.id)) is not None:
                return snapshot.sequence, snapshot.deleted
    return None, False


def _set_aside(effects: Effects, record: Record, reason: Reason, detail: str) -> None:
    effects.letters.append(Letter(record, reason, detail))


# Restore runs


def _link_refusal(workspace: Workspace, run: RestoreRun) -> str | None:
    """Why a run may not name the operation that it names; None if it may."""
    if run.operation_run_id is None:
        return None
    operation = workspace.operation(run.tenant_id, run.operation_run_id)
    if operation is None or run.id in operation.runs or len(operation.runs) < MAX_LINKS:
        return None
    return f"expected at most {MAX_LINKS} restore runs that name operation {run.operation_run_id}, got one more"


def _change_run(workspace: Workspace, effects: Effects, run: RestoreRun, cause: Cause) -> None:
    record = workspace.run(run.tenant_id, run.id)
    if record is None:
        record = _new_run(workspace, run)
    elif record.run.operation_run_id not in (None, run.operation_run_id):
        _unlink(workspace, record.run)
    record.run = run
    record.marked = False
    if run.operation_run_id is not None:
        _link(workspace, run, run.operation_run_id)
    _decide_again(workspace, effects, record, cause)


def _new_run(workspace: Workspace, run: RestoreRun) -> RunRecord:
    """A record for a run that has none; one that was deleted goes on counting, with an empty timeline."""
    gone = workspace.deleted_run(run.tenant_id, run.id)
    if gone is None:
        return RunRecord(run, False, 0, None, None, [], NEVER, NEVER)
    workspace.put(Key("deleted-run", run.tenant_id, run.id), None)
    return RunRecord(run, False, gone.revision, None, None, [], gone.changed_at, gone.updated_at)


def _delete_run(workspace: Workspace, effects: Effects, event: Deleted, cause: Cause) -> None:
    record = workspace.run(event.tenant_id, event.id)
    if record is None:
        gone = workspace.deleted_run(event.tenant_id, event.id) or DeletedRun(0, 0, NEVER, NEVER)
        gone.sequence = event.sequence
    else:
        if record.run.operation_run_id is not None:
            _unlink(workspace, record.run)
        at = max(record.updated_at, cause.at)
        gone = DeletedRun(event.sequence, record.revision + 1, at, at)
        key = Key("run", event.tenant_id, event.id)
        workspace.put(key, None)
        _publish_change(effects, key, record.state, None, gone.revision, at, cause)
        _trace(effects, key, cause)
    workspace.put(Key("deleted-run", event.tenant_id, event.id), gone)


def _link(workspace: Workspace, run: RestoreRun, operation_id: str) -> None:
    operation = workspace.operation(run.tenant_id, operation_id) or OperationRecord()
    if run.id not in operation.runs:
        operation.runs.add(run.id)
        _put_operation(workspace, run.tenant_id, operation_id, operation)


def _unlink(workspace: Workspace, run: RestoreRun) -> None:
    assert run.operation_run_id is not None
    operation = workspace.operation(run.tenant_id, run.operation_run_id)
    assert operation is not None, "a linked run's operation has a record"
    operation.runs.remove(run.id)
    _put_operation(workspace, run.tenant_id, run.operation_run_id, operation)


def _decide_again(workspace: Workspace, effects: Effects, record: RunRecord, cause: Cause) -> None:
    """Something was applied to this run: take a revision, derive the state, publish a change of it."""
    run = record.run
    key = Key("run", run.tenant_id, run.id)
    state = decide(facts_of(workspace, record)).state
    effects.counts["decided"] += 1
    record.revision += 1
    record.updated_at = max(record.updated_at, cause.at)
    record.stored = None
    if state != record.state:
        before, record.previous_state, record.state = record.state, record.state, state
        record.changed_at = record.updated_at
        record.timeline.append(Transition(record.revision, state, record.changed_at))
        del record.timeline[:-TIMELINE_LENGTH]
        _publish_change(effects, key, before, state, record.revision, record.changed_at, cause)
    _trace(effects, key, cause)
    workspace.put(key, record)


def _trace(effects: Effects, key: Key, cause: Cause) -> None:
    """Only the last cause of what is published counts: an earlier one's trace is not that of this document."""
    if cause.traceparent is None:
        effects.traceparents.pop(key, None)
    else:
        effects.traceparents[key] = cause.traceparent


def _publish_change(
    effects: Effects, key: Key, before: State | None, after: State | None, revision: int, at: int, cause: Cause
) -> None:
    body = state_change(
        key.tenant,
        key.id,
        before,
        after,
        revision=revision,
        origin=cause.origin,
        cause=(cause.entity, cause.id, cause.sequence),
        changed_at=at,
    )
    effects.changes.append(Change(key, body, cause.traceparent))


# Operation runs


def _change_operation(workspace: Workspace, effects: Effects, operation: OperationRun, cause: Cause) -> None:
    record = workspace.operation(operation.tenant_id, operation.id) or OperationRecord()
    record.operation = operation
    _operation_applied(workspace, effects, operation.tenant_id, operation.id, record, cause)


def _delete_operation(workspace: Workspace, effects: Effects, event: Deleted, cause: Cause) -> None:
    record = workspace.operation(event.tenant_id, event.id) or OperationRecord()
    last = record.operation or OperationRun(event.id, event.tenant_id, None)
    record.operation = replace(last, deleted=True, sequence=event.sequence, source=event.source)
    record.due = None  # a newer deletion is remembered from now on
    _operation_applied(workspace, effects, event.tenant_id, event.id, record, cause)


def _operation_applied(
    workspace: Workspace, effects: Effects, tenant: str, id: str, record: OperationRecord, cause: Cause
) -> None:
    record.unreadable.discard(f"operation_run/{id}")
    _put_operation(workspace, tenant, id, record)
    _decide_all_again(workspace, effects, tenant, record.runs, cause)


def _put_operation(workspace: Workspace, tenant: str, id: str, record: OperationRecord) -> None:
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


def _decide_all_again(workspace: Workspace, effects: Effects, tenant: str, runs: Iterable[str], cause: Cause) -> None:
    for id in sorted(runs):
        record = workspace.run(tenant, id)
        assert record is not None, "an operation's record names only runs that exist"
        _decide_again(workspace, effects, record, cause)


# Evidence snapshots


def _change_snapshot(workspace: Workspace, effects: Effects, snapshot: EvidenceSnapshot, cause: Cause) -> None:
    tenant, id, target = snapshot.tenant_id, snapshot.id, snapshot.operation_run_id
    touched = _take_out(workspace, tenant, id)
    workspace.put(Key("snapshot", tenant, id), SnapshotRecord(_known(cause.sequence), target, kept=False))
    if target is not None:
        touched |= _put_in(workspace, effects, snapshot, target)
    _decide_all_again(workspace, effects, tenant, touched, cause)


def _put_in(workspace: Workspace, effects: Effects, snapshot: EvidenceSnapshot, target: str) -> set[str]:
    """Put a snapshot into its operation, which may have to drop one for it; returns the runs that this bears on."""
    tenant, id = snapshot.tenant_id, snapshot.id
    snapshot = replace(snapshot, expired=_is_past(snapshot, workspace.stream_time))
    operation = workspace.operation(tenant, target) or OperationRecord()
    operation.snapshots[id] = snapshot
    fallen = _fall_out(operation)
    if fallen is not None:
        effects.counts["evicted"] += 1
        _remember_fallen(workspace, fallen, target, operation)
    _put_operation(workspace, tenant, target, operation)
    if id not in operation.snapshots:
        return set()
    record = SnapshotRecord(_known(snapshot.sequence), target, kept=True, due=_expiry(snapshot))
    workspace.put(Key("snapshot", tenant, id), record)
    return set(operation.runs)


def _delete_snapshot(workspace: Workspace, effects: Effects, event: Deleted, cause: Cause) -> None:
    touched = _take_out(workspace, event.tenant_id, event.id)
    before = workspace.snapshot(event.tenant_id, event.id)
    record = SnapshotRecord(
        event.sequence,
        None if before is None else before.operation_run_id,
        kept=False,
        deleted=True,
        due=workspace.stream_time + workspace.deletion_memory_ms,
    )
    workspace.put(Key("snapshot", event.tenant_id, event.id), record)
    _decide_all_again(workspace, effects, event.tenant_id, touched, cause)


def _take_out(workspace: Workspace, tenant: str, id: str) -> set[str]:
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
    _put_operation(workspace, tenant, before.operation_run_id, operation)
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
    record = SnapshotRecord(_known(fallen.sequence), operation_id, kept=False, due=due)
    workspace.put(Key("snapshot", fallen.tenant_id, fallen.id), record)


def _is_past(snapshot: EvidenceSnapshot, stream_time: int) -> bool:
    return snapshot.status == "active" and snapshot.expires_at is not None and snapshot.expires_at <= stream_time


def _expiry(snapshot: EvidenceSnapshot) -> int | None:
    """When a kept snapshot expires; only active ones do, and only once."""
    return None if snapshot.status != "active" or snapshot.expired else snapshot.expires_at


def _known(sequence: int | None) -> int:
    assert sequence is not None, "what is applied has a sequence"
    return sequence


# Deadlines, marks, recompute


def _fall_due(workspace: Workspace, effects: Effects, due: int, key: Key) -> None:
    """A deadline has come: a kept snapshot expires, a deletion is forgotten."""
    record = workspace.find(key)
    match record:
        case SnapshotRecord(kept=True):
            _expire(workspace, effects, due, key, record)
        case SnapshotRecord():
            workspace.put(key, None)
            effects.counts["forgotten"] += 1
        case OperationRecord():
            record.operation = None
            _put_operation(workspace, key.tenant, key.id, record)
            effects.counts["forgotten"] += 1
        case _:
            raise AssertionError(f"a record without deadline fell due: {key}")


def _expire(workspace: Workspace, effects: Effects, due: int, key: Key, record: SnapshotRecord) -> None:
    assert record.operation_run_id is not None
    operation = workspace.operation(key.tenant, record.operation_run_id)
    assert operation is not None, "a kept snapshot is in its operation's record"
    operation.snapshots[key.id] = replace(operation.snapshots[key.id], expired=True)
    _put_operation(workspace, key.tenant, record.operation_run_id, operation)
    record.due = None
    workspace.put(key, record)
    effects.counts["expired"] += 1
    cause = Cause("evidence_snapshot", key.id, record.sequence, due, "deadline")
    _decide_all_again(workspace, effects, key.tenant, operation.runs, cause)


def _mark(workspace: Workspace, effects: Effects, mark: Mark, input: Input) -> None:
    """An entity's newest event could not be read: the runs that it bears on say so (interfaces, section 7)."""
    stored, _ = _stored_sequence(workspace, mark)
    if mark.sequence is not None and stored is not None and mark.sequence <= stored:
        return
    event = input.event
    assert isinstance(event, Rejected)
    cause = Cause(mark.entity, mark.id, mark.sequence, input.at, input.origin, event.traceparent)
    if mark.entity == "restore_run":
        record = workspace.run(mark.tenant_id, mark.id)
        if record is None or record.marked:
            return
        record.marked = True
        effects.counts["marked"] += 1
        _decide_again(workspace, effects, record, cause)
    else:
        _mark_operation(workspace, effects, mark, cause)


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
    _put_operation(workspace, mark.tenant_id, operation_id, operation)
    _decide_all_again(workspace, effects, mark.tenant_id, operation.runs, cause)


def _recompute(workspace: Workspace, effects: Effects, event: Recompute, input: Input) -> Outcome:
    """Decide a run again from its facts; only if its document would be another one, policy aside, is it applied."""
    record = workspace.run(event.tenant_id, event.id)
    if record is None or record.stored is None:
        return "ignored"
    fresh = current_document(workspace, record)
    if _but_policy(fresh) == _but_policy(record.stored):
        return "ignored"
    cause = Cause("restore_run", event.id, record.run.sequence, input.at, "recompute", event.traceparent)
    _decide_again(workspace, effects, record, cause)
    return "applied"


def _but_policy(document: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name != "policy"}
