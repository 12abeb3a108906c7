"""One input applied to the records: the only place where stored facts change.

Every input ends in exactly one of four ways, which are counted: *applied*, *stale* (an event with a larger sequence was
there before), *ignored* (a null value) or a *dead letter*. What is applied bears on runs: on the run itself, on those
that name the operation, or on those whose operation keeps the snapshot. Each of them takes a revision and is decided
again, and if its state is another one now, that is a change.

Time is an input as well. Before a record is applied, the deadlines up to its timestamp fall, in order; so an evidence
expires between the records where it would have, however late they are read. Nothing here reads a clock or depends on
how inputs are cut into batches: the same inputs in the same order give the same documents, revisions and changes.

Here is what all inputs have in common. What an event does to its entity is told in `runs`, `operations`, `snapshots`
and `marks`, what operators have forgotten in `forgetting`; that a run is decided again because of it, in `deciding`.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from contracts.commands import Forget, Recompute
from contracts.decision import Origin
from contracts.events import Changed, Deleted, Event, Ignored, Mark, Record, Rejected
from contracts.facts import EvidenceSnapshot, OperationRun, RestoreRun
from contracts.letters import Reason
from projections.deciding import current_document, decide_again, facts_of
from projections.effects import Cause, Change, Effects, Letter
from projections.forgetting import forget
from projections.marks import mark_entity
from projections.operations import change_operation, delete_operation, put_operation
from projections.output import state_document
from projections.record import Key, OperationRecord, SnapshotRecord
from projections.rules import decide
from projections.runs import change_run, delete_run, link_refusal
from projections.snapshots import change_snapshot, delete_snapshot, expire
from projections.workspace import Workspace

__all__ = ["Change", "Effects", "Input", "Letter", "Outcome", "advance", "advance_time", "current_document"]

Outcome = Literal["applied", "stale", "ignored", "dead_letter"]


class Input(NamedTuple):
    """An event at a place in merged order. `at`: the record's timestamp in ms; `record`: for a dead letter."""

    event: Event | Recompute | Forget
    at: int
    record: Record
    origin: Origin = "live"


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
        case Ignored():
            return "ignored"
        case Forget():
            return "applied" if forget(workspace, effects, event, input.at) else "ignored"
        case Recompute():
            return recompute(workspace, effects, event, input.at)
        case Rejected():
            _set_aside(effects, input.record, event.reason, event.detail)
            if event.marks is not None and _is_news(workspace, event.marks):
                mark = event.marks
                cause = Cause(mark.entity, mark.id, mark.sequence, input.at, input.origin, event.traceparent)
                mark_entity(workspace, effects, mark, cause)
            return "dead_letter"


def advance_time(workspace: Workspace, effects: Effects, time: int) -> None:
    """Let stream time reach `time`, and let fall what is due until then; it never goes back."""
    time = max(time, workspace.stream_time)
    while (deadline := workspace.next_deadline(time)) is not None:
        _fall_due(workspace, effects, *deadline)
    workspace.stream_time = time


def _apply(workspace: Workspace, effects: Effects, input: Input, event: Changed | Deleted, cause: Cause) -> Outcome:
    """Apply an event unless it is stale or cannot be; returns how it ended."""
    deleted = isinstance(event, Deleted)
    if not _is_newer(event.sequence, *_stored_sequence(workspace, event), deleted=deleted):
        return "stale"
    if isinstance(event, Deleted):
        match event.entity:
            case "restore_run":
                delete_run(workspace, effects, event, cause)
            case "operation_run":
                delete_operation(workspace, effects, event, cause)
            case "evidence_snapshot":
                delete_snapshot(workspace, effects, event, cause)
        return "applied"
    match event.facts:
        case RestoreRun() as run:
            if (refusal := link_refusal(workspace, run)) is not None:
                _set_aside(effects, input.record, "too_many_links", refusal)
                return "dead_letter"
            change_run(workspace, effects, run, cause)
        case OperationRun() as operation:
            change_operation(workspace, effects, operation, cause)
        case EvidenceSnapshot() as snapshot:
            change_snapshot(workspace, effects, snapshot, cause)
    return "applied"


def _is_newer(sequence: int, stored: int | None, stored_is_deletion: bool, *, deleted: bool) -> bool:
    """The larger sequence wins; a deletion also wins an equal one that is not a deletion (interfaces, section 4)."""
    if stored is None or sequence > stored:
        return True
    return sequence == stored and deleted and not stored_is_deletion


def _is_news(workspace: Workspace, mark: Mark) -> bool:
    """Whether an event that could not be read may have been newer than all that was applied."""
    stored, _ = _stored_sequence(workspace, mark)
    return mark.sequence is None or stored is None or mark.sequence > stored


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


def _fall_due(workspace: Workspace, effects: Effects, due: int, key: Key) -> None:
    """A deadline has come: a kept snapshot expires, a deletion is forgotten."""
    record = workspace.find(key)
    match record:
        case SnapshotRecord(kept=True):
            expire(workspace, effects, due, key, record)
        case SnapshotRecord():
            workspace.put(key, None)
            effects.counts["forgotten"] += 1
        case OperationRecord():
            record.operation = None
            put_operation(workspace, key.tenant, key.id, record)
            effects.counts["forgotten"] += 1
        case _:
            raise AssertionError(f"a record without deadline fell due: {key}")


def recompute(workspace: Workspace, effects: Effects, order: Recompute, at: int) -> Outcome:
    """Decide a run again from its facts; only if its document would be another one, policy aside, is it applied.

    `at`: when, in ms; a recompute that no record has asked for happens at stream time.
    """
    record = workspace.run(order.tenant_id, order.id)
    if record is None or record.stored is None:
        return "ignored"
    facts = facts_of(workspace, record)
    rule = decide(facts)
    fresh = state_document(record, facts, rule)  # with the record's state, whatever the rule says
    if rule.state == record.state and _but_policy(fresh) == _but_policy(record.stored):
        return "ignored"
    cause = Cause("restore_run", order.id, record.run.sequence, at, "recompute", order.traceparent)
    decide_again(workspace, effects, record, cause)
    effects.counts["recomputed"] += 1
    return "applied"


def _but_policy(document: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name != "policy"}
